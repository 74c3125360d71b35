"""What an allow rests on ends it: each end, alone, is its `valid_until`; and rare denials that no story tells."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace as changed

from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.horizon import NEVER
from pdp.core.model import (
    AnyFact,
    ApprovalKind,
    Credential,
    Duration,
    Identity,
    IdentityKind,
    Instant,
    Request,
    Revocation,
    RevocationTarget,
    Task,
)
from pdp.core.policy.model import ApprovalRequirement, Limits, Policy
from pdp.core.reasons import Code
from tests.unit.core_story import NOW, REQUEST, approval, chain, codes, decided, loaded, session

FOUND_BY_TASK = changed(REQUEST, session="", task="job")
SHOWN = changed(REQUEST, credential=Credential(id="c", issuer="ca", issued_at=Instant(40)))
SUBTASK: Sequence[AnyFact] = (Task(id="job", parent="t-1"), Task(id="t-1", parent="t-2"), Task(id="t-2"))


def revoked(target: RevocationTarget, id_: str, at: int = 70) -> Revocation:
    """Return a revocation that is still to come."""
    return Revocation(id="r", target=target, target_id=id_, effective_at=Instant(at), reason="left")


def agent(max_age: int) -> Identity:
    """Return the agent with a bound on the age of its credentials."""
    return Identity(id="agent", kind=IdentityKind.AI_AGENT, owner="team", credential_max_age=Duration(max_age))


@pytest.mark.parametrize(
    ("facts", "request_"),
    [
        ([changed(session(0), expires_at=Instant(70))], REQUEST),
        ([changed(session(0), idle_timeout=Duration(20))], REQUEST),
        ([changed(session(1), not_before=Instant(70))], FOUND_BY_TASK),
        ([revoked(RevocationTarget.IDENTITY, "agent")], REQUEST),
        ([revoked(RevocationTarget.IDENTITY, "*")], REQUEST),
        ([revoked(RevocationTarget.OWNER, "team")], REQUEST),
        ([revoked(RevocationTarget.SESSION, "s-0")], REQUEST),
        ([revoked(RevocationTarget.TASK, "job")], REQUEST),
        ([*SUBTASK, revoked(RevocationTarget.TASK, "t-2")], REQUEST),
        ([revoked(RevocationTarget.ENTITLEMENT, "reader")], REQUEST),
        ([revoked(RevocationTarget.CREDENTIAL, "c")], SHOWN),
        ([revoked(RevocationTarget.ISSUER, "ca")], SHOWN),
        ([agent(30)], SHOWN),
    ],
)
def test_every_end_ends_an_allow(facts: list[AnyFact], request_: Request) -> None:
    """And at that instant the answer is no."""
    snapshot = loaded([*chain(0), *facts])
    snapshot.record_use(["s-0"], [], NOW)
    decision = decide(request_, snapshot, NOW)
    assert isinstance(decision, Allow)
    assert decision.valid_until == 70
    assert isinstance(decide(request_, snapshot, Instant(69), used=False), Allow)
    assert not isinstance(decide(request_, snapshot, Instant(70), used=False), Allow)


def test_an_end_beyond_what_can_be_written_is_never() -> None:
    """The wire can say no later instant than the last of the year 9999."""
    late = changed(session(0), expires_at=Instant(NEVER + 1))
    entitled = [changed(fact, certified_until=Instant(NEVER + 1)) for fact in chain(0) if fact.id == "reader"]
    decision = decided([*chain(0), late, *entitled, revoked(RevocationTarget.TASK, "other")])
    assert isinstance(decision, Allow)
    assert decision.valid_until == NEVER


def test_a_task_is_revoked_with_any_task_above_it() -> None:
    """Two above, and also when the uppermost is not known."""
    gone = revoked(RevocationTarget.TASK, "t-2", at=NOW)
    assert codes(decided([*chain(0), *SUBTASK, gone])) == [Code.TASK_REVOKED]
    assert codes(decided([*chain(0), *SUBTASK[:2], gone])) == [Code.TASK_UNKNOWN, Code.TASK_REVOKED]


@pytest.mark.parametrize("approver", ["asker", "agent", "team", ""])
def test_an_approver_with_an_interest_is_not_independent(approver: str) -> None:
    """Neither who asked, nor the identity, nor its owner, nor nobody."""
    asks = Policy(
        name="eyes",
        actions=("**",),
        resources=("**",),
        approval=ApprovalRequirement("eyes", frozenset([ApprovalKind.STANDARD]), independent=True),
    )
    given = changed(approval(ApprovalKind.STANDARD), approved_by=approver)
    facts = [*chain(0), changed(session(0), approval="consent"), given]
    assert codes(decided(facts, REQUEST, asks)) == [Code.APPROVAL_NOT_INDEPENDENT]


def test_a_limit_on_the_age_of_credentials_asks_for_one() -> None:
    """Also when the identity is not known and only a policy asks."""
    young = Policy(name="young", actions=("**",), resources=("**",), limits=Limits(credential_age=Duration(5)))
    assert codes(decided(chain(0), REQUEST, young)) == [Code.CREDENTIAL_INVALID]
    unknown = changed(SHOWN, subject="stranger")
    expected = [Code.CREDENTIAL_TOO_OLD, Code.IDENTITY_UNKNOWN, Code.SESSION_MISMATCH]
    assert codes(decided(chain(0), unknown, young)) == expected
