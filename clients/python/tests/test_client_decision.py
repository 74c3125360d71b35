"""What is an allow, and what is not."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessionpdp import AccessDenied, Decision, Doubt, GuardCode
from sessionpdp.v1 import decision_pb2, reasons_pb2

GRANTED = decision_pb2.Reason(code=reasons_pb2.REASON_CODE_GRANTED)
EXPIRED = decision_pb2.Reason(code=reasons_pb2.REASON_CODE_SESSION_EXPIRED, message="session `s-1` has expired")
NEWER = decision_pb2.Reason.FromString(b"\x08\xe7\x07")  # code 999
UNSPECIFIED = decision_pb2.Reason()
NEWER_OUTCOME = decision_pb2.Decision.FromString(b"\x08\x09")  # outcome 9


def answer(outcome: decision_pb2.Outcome.ValueType, *reasons: decision_pb2.Reason) -> Decision:
    """Return what the client makes of an answer."""
    return Decision.from_wire(decision_pb2.Decision(outcome=outcome, reasons=reasons, decision_id="d-1"))


@pytest.mark.parametrize(
    "reasons",
    [(), (EXPIRED,), (GRANTED, EXPIRED), (NEWER,), (UNSPECIFIED,)],
    ids=["none", "a denial", "a grant and a denial", "a newer denial", "unspecified"],
)
def test_an_allow_without_a_grant_is_a_deny(reasons: tuple[decision_pb2.Reason, ...]) -> None:
    """An answer that contradicts itself allows nothing, and no decision was made."""
    decision = answer(decision_pb2.OUTCOME_ALLOW, *reasons)

    assert (decision.allowed, decision.decided, decision.code) == (False, False, "PDP_ANSWER_INVALID")


def test_break_glass_is_an_allow() -> None:
    """Both grants are grants."""
    reason = decision_pb2.Reason(code=reasons_pb2.REASON_CODE_GRANTED_BREAK_GLASS)
    assert answer(decision_pb2.OUTCOME_ALLOW, reason).code == "GRANTED_BREAK_GLASS"


@given(st.binary(max_size=60))
def test_only_a_stated_allow_allows(noise: bytes) -> None:
    """Whatever bytes a server sends, an allow says ALLOW and gives grants alone."""
    try:
        wire = decision_pb2.Decision.FromString(noise)
    except Exception:  # noqa: BLE001 - not a message at all
        return
    decision = Decision.from_wire(wire)
    stated = wire.outcome == decision_pb2.OUTCOME_ALLOW and bool(wire.reasons)
    assert decision.allowed == (stated and all(reason.code in range(1, 100) for reason in wire.reasons))
    assert decision.reasons


def test_an_unknown_outcome_is_a_deny() -> None:
    """A newer server's outcome is none that this client may act on."""
    decision = Decision.from_wire(NEWER_OUTCOME)
    assert not decision.allowed
    assert decision.reasons[0].message == "the answer has unknown outcome `9`"


def test_a_newer_code_is_named_by_its_number() -> None:
    """It is still a deny, and can be looked up."""
    decision = answer(decision_pb2.OUTCOME_DENY, EXPIRED, NEWER)
    assert [reason.code for reason in decision.reasons] == ["SESSION_EXPIRED", "UNKNOWN_999"]
    assert decision.decided


def test_every_field_is_readable() -> None:
    """The decision shows what it was computed from."""
    wire = decision_pb2.Decision(
        outcome=decision_pb2.OUTCOME_ALLOW,
        reasons=[GRANTED],
        identity_id="i",
        owner="o",
        session_id="s",
        task_id="t",
        approval_id="a",
        ticket="CHG-1",
        entitlement_id="e",
        policies=["p", "q"],
        revision=3,
        policy_version="v",
        trace_id="f",
    )
    wire.obligations.add(type="record_session").parameters["level"] = "full"
    wire.valid_until.FromJsonString("2026-01-01T00:00:00.5Z")

    decision = Decision.from_wire(wire)

    assert (decision.identity_id, decision.owner, decision.session_id, decision.task_id) == ("i", "o", "s", "t")
    assert (decision.approval_id, decision.ticket, decision.entitlement_id) == ("a", "CHG-1", "e")
    assert (decision.policies, decision.revision, decision.policy_version) == (("p", "q"), 3, "v")
    assert decision.trace_id == "f"
    assert decision.obligations[0].parameters == {"level": "full"}
    assert decision.valid_until is not None
    assert decision.valid_until.isoformat() == "2026-01-01T00:00:00.500000+00:00"
    assert decision.evaluated_at is None


def test_a_decision_has_no_truth_value() -> None:
    """`if pdp.check(...)` would let every deny pass."""
    with pytest.raises(TypeError, match=r"use `.allowed` or `.require\(\)`"):
        bool(answer(decision_pb2.OUTCOME_DENY, EXPIRED))


def test_a_decision_cannot_be_changed() -> None:
    """An answer is a value."""
    with pytest.raises(AttributeError):
        answer(decision_pb2.OUTCOME_DENY, EXPIRED).allowed = True  # type: ignore[misc]


def test_decisions_and_denials_travel() -> None:
    """To another process, as exceptions of workers do."""
    denial = AccessDenied(answer(decision_pb2.OUTCOME_DENY, EXPIRED))

    copy = pickle.loads(pickle.dumps(denial))  # noqa: S301 - made right here

    assert copy.decision == denial.decision
    assert hash(copy.decision) == hash(denial.decision)
    assert str(copy) == "SESSION_EXPIRED: session `s-1` has expired"


def test_a_decision_shows_what_it_is() -> None:
    """In logs and debuggers."""
    assert repr(answer(decision_pb2.OUTCOME_DENY, EXPIRED)) == "<Decision deny SESSION_EXPIRED d-1>"
    assert repr(Decision.undecided(Doubt.PDP_TIMEOUT, "late")) == "<Decision deny PDP_TIMEOUT>"


def test_an_overruled_allow_is_a_deny() -> None:
    """A guard may turn an allow into a deny, never the other way; the id stays."""
    decision = answer(decision_pb2.OUTCOME_ALLOW, GRANTED).overruled(GuardCode.OBLIGATION_UNKNOWN, "no handler")
    assert (decision.allowed, decision.code, decision.decision_id) == (False, "OBLIGATION_UNKNOWN", "d-1")
