"""Facts keep every field between the wire and the domain."""

from __future__ import annotations

from enum import StrEnum

import pytest
from google.protobuf.descriptor import FieldDescriptor
from msgspec.structs import fields
from sessionpdp.v1 import facts_pb2, governance_pb2

from pdp.core import model
from pdp.core.lawful_request import Fault
from pdp.core.model import (
    KIND_OF,
    TYPE_OF,
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Consent,
    Duration,
    Entitlement,
    FactKind,
    Identity,
    IdentityKind,
    IdentityState,
    Instant,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Signal,
    Task,
    TaskState,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.doors.facts_wire import fact_of, message_of

STAMPED = {"revision", "traceparent"}
FULL: list[AnyFact] = [
    Identity(
        id="spiffe://example.org/ci/**",
        kind=IdentityKind.CI_JOB,
        owner="team-a",
        state=IdentityState.SUSPENDED,
        labels={"tier": "1"},
        credential_max_age=Duration(1_500_000_001),
        revision=7,
    ),
    Entitlement(
        id="e",
        identity=IdentityScope(["a/*"]),
        actions=ActionScope(["rows.*", "schema.alter"]),
        resources=ResourceScope(["database:**"]),
        max_session_ttl=Duration(1),
        certified_by="approver",
        certified_until=Instant(1_700_000_000_000_000_001),
        granted_by="head-of-payments",
        reviewed_at=Instant(1_600_000_000_000_000_001),
    ),
    Approval(
        id="a",
        kind=ApprovalKind.BREAK_GLASS,
        state=ApprovalState.APPROVED,
        identity="worker",
        ticket="CHG-1",
        requested_by="requester",
        approved_by="approver",
        actions=ActionScope(["**"]),
        resources=ResourceScope(["a:b"]),
        not_before=Instant(0),
        expires_at=Instant(1),
        max_uses=1,
        review_due=Instant(2),
        reviewed_by="security",
        justification="the index is corrupt,\nsee CHG-1",
        consents=(
            Consent(by="change-manager", at=Instant(1_500_000_000_000_000_001), groups=("release", "on-call")),
            Consent(by="approver", at=Instant(3)),
        ),
    ),
    Task(id="t", owner="requester", parent="p", state=TaskState.CANCELLED),
    Session(
        id="s",
        identity="worker",
        task="t",
        entitlement="e",
        approval="a",
        actions=ActionScope(["rows.read"]),
        resources=ResourceScope(["database:prod/*"]),
        constraints={"tenant.id": ["a", 1.5, True, None, ["x"], {"y": "z"}]},
        not_before=Instant(5),
        expires_at=Instant(6),
        idle_timeout=Duration(7),
        max_uses=8,
        parent="s-0",
        state=SessionState.CLOSED,
        opened_by="on-call-engineer",
        reviewed_by="security",
    ),
    Revocation(
        id="r",
        target=RevocationTarget.ISSUER,
        target_id="i",
        effective_at=Instant(9),
        reason="stolen",
        source="siem",
        expires_at=Instant(10),
        revoked_by="security",
    ),
    Signal(id="g", about="worker", name="risk", value={"level": "high"}, source="edr", expires_at=Instant(11)),
]


def message_type(kind: FactKind) -> FieldDescriptor:
    """Return the field of Fact that carries a kind."""
    return facts_pb2.Fact.DESCRIPTOR.fields_by_name[kind.value]  # type: ignore[return-value]


@pytest.mark.parametrize("kind", list(FactKind))
def test_message_and_struct_have_the_same_fields(kind: FactKind) -> None:
    """By name; a field added to one side alone would be lost without a word."""
    on_the_wire = {field.name for field in message_type(kind).message_type.fields}
    assert on_the_wire == {info.name for info in fields(TYPE_OF[kind])} - STAMPED


def test_a_consent_has_the_same_fields_on_both_sides() -> None:
    """By name, too."""
    on_the_wire = {field.name for field in facts_pb2.Consent.DESCRIPTOR.fields}
    assert on_the_wire == {info.name for info in fields(Consent)}


def test_each_consent_says_who_gave_it_and_when() -> None:
    """The fault names the one that does not."""
    faults: list[Fault] = []
    message = message_of(FULL[2])
    message.approval.consents.add()
    assert fact_of(message, "fact", faults) is None
    assert [fault.field for fault in faults] == [f"fact.approval.consents[2].{name}" for name in ("by", "at")]


def test_every_kind_is_on_the_wire() -> None:
    """As a member of the oneof and as a value of FactKind."""
    members = {field.name for field in facts_pb2.Fact.DESCRIPTOR.oneofs_by_name["fact"].fields}
    numbers = {name.removeprefix("FACT_KIND_").lower() for name, _ in facts_pb2.FactKind.items()} - {"unspecified"}
    assert (members, numbers) == ({*FactKind}, {*FactKind})


def test_every_enum_has_the_same_words() -> None:
    """In the order of neither: the wire knows them by number."""
    found = {}
    for enum in facts_pb2.DESCRIPTOR.enum_types_by_name.values():
        prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
        found[enum.name] = {value.name.removeprefix(prefix).lower() for value in enum.values if value.number}
    words = {name: {*getattr(model, name)} for name in found}
    assert found == words
    assert all(issubclass(getattr(model, name), StrEnum) for name in found)


@pytest.mark.parametrize("fact", FULL, ids=lambda fact: KIND_OF[type(fact)])
def test_a_fact_with_every_field_comes_back_the_same(fact: AnyFact) -> None:
    """But for the revision, which the store gives."""
    message = message_of(fact)
    assert message.revision == fact.revision
    faults: list[Fault] = []
    again = fact_of(facts_pb2.Fact.FromString(message.SerializeToString()), "fact", faults)
    assert (message_of(again) if again else None, faults) == (_unstamped(message), [])


def _unstamped(message: facts_pb2.Fact) -> facts_pb2.Fact:
    copy = facts_pb2.Fact()
    copy.CopyFrom(message)
    copy.revision = 0
    return copy


def test_what_is_left_out_takes_the_default_of_the_domain() -> None:
    """A task needs nothing but an id."""
    faults: list[Fault] = []
    message = facts_pb2.Fact(task=facts_pb2.Task(id="t"))
    assert (fact_of(message, "fact", faults), faults) == (Task(id="t"), [])


def test_no_default_stands_in_for_what_must_be_said() -> None:
    """An empty session is missing each required field, all named at once."""
    faults: list[Fault] = []
    assert fact_of(facts_pb2.Fact(session=facts_pb2.Session()), "facts[3]", faults) is None
    required = ("id", "identity", "task", "entitlement", "actions", "resources", "not_before", "expires_at")
    assert [fault.field for fault in faults] == [f"facts[3].session.{name}" for name in required]


def test_a_reference_names_a_kind_by_the_same_numbers() -> None:
    """Removals and facts agree."""
    numbers = governance_pb2.FactReference.DESCRIPTOR.fields_by_name["kind"].enum_type
    assert numbers is facts_pb2.FactKind.DESCRIPTOR
