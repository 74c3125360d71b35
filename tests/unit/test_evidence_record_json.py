"""The journal's lines: every kind as the published schema says, chained by hash, never a poison."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from msgspec.structs import replace

from pdp.core.decide import decide, refuse
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalState,
    Credential,
    Drop,
    Duration,
    Entitlement,
    FactKind,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Request,
    Revocation,
    RevocationTarget,
    Session,
    Signal,
    Task,
)
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot
from pdp.evidence.instants import duration_text, instant_text, parse_instant
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.packed_record import body_of_packed, pack
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    LifecycleRecord,
)
from pdp.evidence.trace import TraceContext

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "journal-record.json"
NOW = Instant(1_772_355_600_000_000_001)
LATER = Instant(NOW + 3_600_000_000_000)
TRACE = TraceContext("a" * 32, "b" * 16, "c" * 16, sampled=True)
ACTIONS, RESOURCES = ActionScope(["rows.*"]), ResourceScope(["database:prod/**"])
FACTS: tuple[AnyFact, ...] = (
    Identity(id="job", kind=IdentityKind.CI_JOB, owner="team-data", labels={"tier": "1"}),
    Task(id="t-1"),
    Entitlement(
        id="e-1", identity=IdentityScope(["job"]), actions=ACTIONS, resources=RESOURCES, certified_until=LATER
    ),
    Approval(
        id="a-1", ticket="CHG-1", requested_by="r", approved_by="o", state=ApprovalState.APPROVED, actions=ACTIONS,
        resources=RESOURCES, not_before=NOW, expires_at=LATER, max_uses=3,
    ),
    Session(
        id="s-1", identity="job", task="t-1", entitlement="e-1", approval="a-1", actions=ACTIONS, resources=RESOURCES,
        not_before=NOW, expires_at=LATER, constraints={"region": ["eu"]},
    ),
)  # fmt: skip
REQUEST = Request(
    "job",
    "rows.read",
    "database:prod/users",
    session="s-1",
    context={"region": "eu", "nested": {"list": [1, None, True, 2.5]}},
    credential=Credential("jti-1", "https://issuer.example", "job", NOW, LATER),
    request_id="r-1",
    subject_properties={"team": "data"},
)


REFUSED = AdministrationRecord(
    at=NOW, method="Approve", actor="change-manager", role="approver", outcome=AdministrationOutcome.REFUSED,
    rule="FOUR_EYES", message="`change-manager` requested it", about="approval:a-1",
    traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
)  # fmt: skip


def snapshot(*more: Revocation) -> Snapshot:
    """Return a state in which the request is allowed, unless `more` says otherwise."""
    state = Snapshot()
    state.readiness = Readiness.READY
    state.apply(7, [Put(fact) for fact in (*FACTS, *more)])
    return state


def record(request: Request = REQUEST, *more: Revocation, method: str = "Check") -> DecisionRecord:
    """Return the record of a request's decision."""
    return DecisionRecord(
        decision_id="d-1",
        trace=TRACE,
        method=method,
        caller="sidecar",
        request=request,
        decision=decide(request, snapshot(*more), NOW),
        started_at=NOW,
        ended_at=Instant(NOW + 5_000),
    )


def revocation() -> Revocation:
    """Return a revocation of the session."""
    return Revocation(id="x-1", target=RevocationTarget.SESSION, target_id="s-1", effective_at=NOW, reason="incident 7")


def line(value: AnyRecord) -> dict[str, Any]:
    """Return the members of a record's line."""
    members: dict[str, Any] = json.loads(line_of(body_of(value), 3, "e" * 64)[0])
    return members


def change(*facts: Put | Drop) -> ChangeRecord:
    """Return the record of a commit."""
    return ChangeRecord(
        revision=8, changes=facts, actor="operator", reason="why", at=NOW, method="ApplyFacts", trace=TRACE
    )


@pytest.mark.parametrize(
    "value",
    [
        record(),
        record(REQUEST, revocation()),
        record(method="Watch"),
        record(Request("nobody", "x", "y:z")),
        change(*(Put(fact) for fact in FACTS), Put(revocation()), Drop(FactKind.TASK, "t-0")),
        change(Put(Signal(id="g-1", about="job", name="risk", value={"level": 3}, expires_at=LATER))),
        REFUSED,
        AdministrationRecord(at=NOW, method="GetFact", actor="a", outcome=AdministrationOutcome.PERMITTED),
        AdministrationRecord(at=NOW, method="Revoke", outcome=AdministrationOutcome.NOT_PERMITTED, message="why"),
        LifecycleRecord(name="started", at=NOW),
        LifecycleRecord(name="policies_loaded", at=NOW, attributes={"version": "v", "count": 3}),
    ],
)
def test_every_record_is_as_the_schema_says(value: AnyRecord) -> None:
    """The published schema, which allows no member it does not name, accepts it."""
    jsonschema.validate(line(value), json.loads(SCHEMA.read_text()))


def test_an_allow_says_what_it_rests_on() -> None:
    """Identity, owner, session, task, approval, ticket, entitlement, and what it used."""
    members = line(record())
    names = ("outcome", "identity_id", "owner", "session_id", "task_id", "approval_id", "ticket", "entitlement_id")
    expected = ["allow", "job", "team-data", "s-1", "t-1", "a-1", "CHG-1", "e-1"]
    assert expected == [members[name] for name in names]
    assert members["uses"] == {"sessions": ["s-1"], "approvals": ["a-1"]}
    assert members["reasons"] == [{"code": "GRANTED", "subject_of_reason": "session:s-1"}]
    assert (True, instant_text(LATER), 5_000) == (members["durable"], members["valid_until"], members["duration_ns"])


def test_a_deny_names_the_revocation() -> None:
    """So that who revoked can be found."""
    reason = line(record(REQUEST, revocation()))["reasons"][0]
    expected = {"code": "SESSION_REVOKED", "message": "session `s-1` is revoked: incident 7"}
    assert expected | {"subject_of_reason": "session:s-1", "revocation_id": "x-1"} == reason


def test_a_watch_counts_no_use() -> None:
    """What is asked for information does not use up a session."""
    assert "uses" not in line(record(method="Watch"))


def test_a_fact_not_found_is_named_as_asked_for() -> None:
    """The record says which session the caller meant."""
    members = line(record(Request("nobody", "x", "y:z", session="s-9", task="t-9")))
    assert (members["session_id"], members["task_id"], "identity_id" in members) == ("s-9", "t-9", False)


def test_a_doubt_of_the_sidecar_is_recorded_too() -> None:
    """A refusal outside the table has no facts, and is a record all the same."""
    state = snapshot()
    denied = DecisionRecord(
        decision_id="d-2", trace=TRACE, method="Check", request=REQUEST, started_at=NOW, ended_at=NOW,
        decision=refuse(Code.EVIDENCE_UNAVAILABLE, "the disk is full", state, NOW),
    )  # fmt: skip
    members = line(denied)
    assert members["reasons"] == [{"code": "EVIDENCE_UNAVAILABLE", "message": "the disk is full"}]


def test_a_change_holds_the_facts_in_the_words_of_the_model() -> None:
    """Instants and durations as text, scopes as patterns, defaults left out."""
    session = Session(
        id="s-2", identity="job", task="t-1", entitlement="e-1", actions=ACTIONS, resources=RESOURCES, not_before=NOW,
        expires_at=LATER, idle_timeout=Duration(600_000_000_000),
    )  # fmt: skip
    expected = {
        "identity": "job", "task": "t-1", "entitlement": "e-1", "actions": ["rows.*"],
        "resources": ["database:prod/**"], "not_before": instant_text(NOW), "expires_at": instant_text(LATER),
        "idle_timeout": "600s",
    }  # fmt: skip
    written = line(change(Put(session), Drop(FactKind.TASK, "t-0")))["changes"]
    assert [
        {"op": "put", "kind": "session", "id": "s-2", "fact": expected},
        {"op": "drop", "kind": "task", "id": "t-0"},
    ] == written


def test_a_change_made_elsewhere_has_the_trace_stamped_into_its_facts() -> None:
    """Where there is no span of our own the stamp still leads to it."""
    elsewhere = ChangeRecord(
        revision=8, changes=(), actor="operator", at=NOW, traceparent=f"00-{'a' * 32}-{'d' * 16}-01"
    )
    members = line(elsewhere)
    assert (members["trace_id"], members["span_id"]) == ("a" * 32, "d" * 16)


def test_a_change_says_which_role_permitted_it() -> None:
    """Beside who made it, how and why."""
    made = ChangeRecord(
        revision=8, changes=(), actor="security", role="operator", reason="leaked", at=NOW, method="Revoke"
    )
    members = line(made)
    told = {name: members[name] for name in ("actor", "role", "reason", "method")}
    assert told == {"actor": "security", "role": "operator", "reason": "leaked", "method": "Revoke"}


def test_a_refused_command_says_who_asked_and_which_rule_stood_against_it() -> None:
    """In the caller's trace."""
    members = line(REFUSED)
    expected = {
        "v": 1, "seq": 3, "kind": "administration", "time": instant_text(NOW), "method": "Approve",
        "outcome": "refused", "prev": "e" * 64, "actor": "change-manager", "role": "approver", "rule": "FOUR_EYES",
        "message": "`change-manager` requested it", "about": "approval:a-1", "trace_id": "a" * 32,
        "parent_span_id": "b" * 16, "hash": members["hash"],
    }  # fmt: skip
    assert expected == members


def test_a_call_of_nobody_known_has_no_actor() -> None:
    """Nor a role or a rule; what says nothing is left out."""
    members = line(AdministrationRecord(at=NOW, method="Revoke", outcome=AdministrationOutcome.NOT_PERMITTED))
    assert list(members) == ["v", "seq", "prev", "kind", "time", "method", "outcome", "hash"]


def test_the_hash_is_that_of_the_line_without_it() -> None:
    """And the hash before is inside what is hashed."""
    text, hash_ = line_of(body_of(record()), 1, GENESIS)
    body = text.removesuffix(f',"hash":"{hash_}"}}\n'.encode()) + b"}"
    assert hashlib.sha256(body).hexdigest() == hash_
    assert json.loads(body)["prev"] == GENESIS


def test_a_decision_travels_flat_to_where_its_line_is_made() -> None:
    """In half the bytes; as the body of its line only where MessagePack cannot say it."""
    flat, large = pack(record()), pack(record(replace(REQUEST, context={"number": 1 << 64})))
    assert [type(msgspec.msgpack.decode(one)) for one in (flat, large)] == [list, bytes]
    assert len(flat) < len(body_of(record())) / 2
    assert json.loads(body_of_packed(large))["request"]["context"] == {"number": 1 << 64}


class Faulty(Mapping[str, str]):
    """A mapping that fails in a way nobody foresaw."""

    def __getitem__(self, key: str) -> str:
        """Fail."""
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Claim to have something."""
        return iter(["a"])

    def __len__(self) -> int:
        """Claim it again."""
        return 1


@pytest.mark.parametrize("poison", ["\ud800", object(), Faulty()])
def test_a_context_that_json_cannot_say_is_left_out(poison: str) -> None:
    """The decision and its uses are on record all the same, and why something is missing."""
    members = line(record(replace(REQUEST, context={"region": "eu", "bad": poison})))
    assert (members["outcome"], members["uses"]["sessions"]) == ("allow", ["s-1"])
    assert ("context" in members["request"], "omitted" in members) == (False, True)
    jsonschema.validate(members, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    "value",
    [
        record(Request("\ud800", "x", "y:z")),
        change(Drop(FactKind.TASK, "\ud800")),
        replace(REFUSED, actor="\ud800"),
        LifecycleRecord(name="started", at=NOW, attributes=Faulty()),
    ],
)
def test_a_record_that_json_cannot_say_at_all_leaves_an_event(value: AnyRecord) -> None:
    """It neither stops the journal nor vanishes."""
    members = line(value)
    assert (members["kind"], members["name"], members["seq"]) == ("lifecycle", "record_unwritable", 3)
    jsonschema.validate(members, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("instant", [0, 1, NOW, 253_402_300_799_999_999_999])
def test_an_instant_reads_back_from_its_text(instant: int) -> None:
    """To the nanosecond."""
    assert instant == parse_instant(instant_text(Instant(instant)))


@pytest.mark.parametrize(("nanos", "expected"), [(90_000_000_000, "90s"), (250_000_000, "0.250000000s"), (0, "0s")])
def test_a_duration_is_written_as_protocol_buffers_do(nanos: int, expected: str) -> None:
    """Exact, in seconds."""
    assert expected == duration_text(Duration(nanos))
