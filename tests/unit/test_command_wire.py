"""Commands keep every field between the wire and the domain, and a bad one is named."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields
from sessionpdp.v1 import facts_pb2
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.model import Attribute, Duration, IdentityKind, Instant, RevocationTarget
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.doors.command_wire import command_of, message_of_command, request_type
from pdp.doors.errors import InvalidRequestError
from pdp.governance import commands as c
from pdp.governance.table import COMMANDS

texts = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)
attributes: st.SearchStrategy[Attribute] = (
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts
)
STRATEGIES: dict[object, st.SearchStrategy[object]] = {
    str: texts,
    Instant: st.integers(0, 253_402_300_799_999_999_999).map(Instant),
    Duration: st.integers(1, 10**18).map(Duration),
    int: st.integers(1, (1 << 63) - 1),
    ActionScope: st.sampled_from([ActionScope(["rows.*", "schema.alter"]), ActionScope(["**"])]),
    ResourceScope: st.sampled_from([ResourceScope(["database:prod/**"]), ResourceScope(["a:b", "a:c"])]),
    IdentityScope: st.sampled_from([IdentityScope(["spiffe://shop.example/ci/**"]), IdentityScope(["worker"])]),
    IdentityKind: st.sampled_from(IdentityKind),
    RevocationTarget: st.sampled_from(RevocationTarget),
    c.ReviewChoice: st.sampled_from(c.ReviewChoice),
    dict[str, str]: st.dictionaries(texts, texts, min_size=1, max_size=3),
    dict[str, list[Attribute]]: st.dictionaries(texts, st.lists(attributes, min_size=1, max_size=3), min_size=1),
    tuple[str, ...]: st.lists(texts, min_size=1, max_size=3).map(tuple),
}


def commands_of(kind: type[c.Command]) -> st.SearchStrategy[c.Command]:
    """Return commands of one kind with every field given."""

    def strategy(annotation: object) -> st.SearchStrategy[object]:
        inner = [one for one in get_args(annotation) if one is not type(None)]
        return STRATEGIES[annotation if annotation in STRATEGIES else inner[0]]

    return st.builds(kind, **{info.name: strategy(info.type) for info in fields(kind)})


@given(st.one_of([commands_of(kind) for kind in COMMANDS]))
def test_a_command_comes_back_the_same(command: c.Command) -> None:
    """Whichever it is, with every field."""
    sent = message_of_command(command, reason="a reason", idempotency_key="k-1", dry_run=True)
    got = type(sent).FromString(sent.SerializeToString())
    assert command_of(got, type(command)) == command
    assert (got.reason, got.idempotency_key, got.dry_run) == ("a reason", "k-1", True)  # type: ignore[attr-defined]


def faults_of(message: Message, kind: type[c.Command]) -> dict[str, str]:
    """Return what is wrong with a request, by field."""
    with pytest.raises(InvalidRequestError) as refused:
        command_of(message, kind)
    return {fault.field: fault.message for fault in refused.value.faults}


def test_what_is_left_out_takes_the_default() -> None:
    """A scope that is not named stays as it is."""
    expected = c.NarrowSession(session_id="s")
    assert command_of(pb.NarrowSessionRequest(session_id="s"), c.NarrowSession) == expected


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_an_empty_request_names_everything_it_lacks(kind: type[c.Command]) -> None:
    """All at once; the reason, too, where one is needed."""
    required = {info.name for info in fields(kind) if info.required}
    lacking = required | ({"reason"} if COMMANDS[kind].needs_reason else set())
    if lacking:
        assert set(faults_of(request_type(kind)(), kind)) == lacking
    else:
        assert command_of(request_type(kind)(), kind) == kind()


REVOKE = {"target": facts_pb2.REVOCATION_TARGET_SESSION, "target_id": "s", "reason": "r"}
WORST = {
    "an id with a line break": (pb.ApproveRequest(approval_id="a\nb"), c.Approve, "approval_id"),
    "an id that is too long": (pb.ApproveRequest(approval_id="x" * 3000), c.Approve, "approval_id"),
    "a reason with a bell": (pb.ApproveRequest(approval_id="a", reason="\a"), c.Approve, "reason"),
    "a key with a line break": (pb.ApproveRequest(approval_id="a", idempotency_key="\n"), c.Approve, "idempotency_key"),
    "an unknown target": (pb.RevokeRequest(**(REVOKE | {"target": 99})), c.Revoke, "target"),  # type: ignore[arg-type]
    "an instant of no year": (
        pb.CertifyEntitlementRequest(entitlement_id="e", until=timestamp_pb2.Timestamp(seconds=1 << 60)),
        c.CertifyEntitlement,
        "until",
    ),
    "no duration": (
        pb.RenewSessionRequest(session_id="s", ttl=duration_pb2.Duration(seconds=0)),
        c.RenewSession,
        "ttl",
    ),
    "a duration into the past": (
        pb.RenewSessionRequest(session_id="s", ttl=duration_pb2.Duration(seconds=-5)),
        c.RenewSession,
        "ttl",
    ),
    "a pattern that is none": (pb.NarrowSessionRequest(session_id="s", actions=["r*"]), c.NarrowSession, "actions"),
    "a pattern with a line break": (
        pb.NarrowSessionRequest(session_id="s", resources=["a:b\n"]),
        c.NarrowSession,
        "resources",
    ),
    "a number that JSON does not have": (
        pb.OpenSessionRequest(
            identity="i",
            task="t",
            entitlement="e",
            actions=["a"],
            resources=["a:b"],
            constraints={"x": struct_pb2.ListValue(values=[struct_pb2.Value(number_value=math.inf)])},
        ),
        c.OpenSession,
        "constraints.x",
    ),
    "a credential without a name": (
        pb.RetireIdentityRequest(identity_id="i", credentials=["a", ""], reason="r"),
        c.RetireIdentity,
        "credentials",
    ),
}


@pytest.mark.parametrize("name", WORST)
def test_a_bad_field_is_named(name: str) -> None:
    """It alone."""
    message, kind, field = WORST[name]
    assert list(faults_of(message, kind)) == [field]


def test_a_justification_may_have_several_lines() -> None:
    """It is prose, as reasons are."""
    asked = pb.RequestApprovalRequest(identity="i", actions=["a"], resources=["a:b"], justification="one\ntwo")
    assert command_of(asked, c.RequestApproval).justification == "one\ntwo"
