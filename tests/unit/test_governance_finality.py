"""What an import may not undo."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    IdentityState,
    Instant,
    RevocationTarget,
    SessionState,
    TaskState,
)
from pdp.core.scope import ActionScope, ResourceScope
from pdp.governance.finality import kept, revived
from tests.unit.rules_story import AGENT, JOB, OPENED, revoked

GLASS = Approval(
    id="glass",
    kind=ApprovalKind.BREAK_GLASS,
    state=ApprovalState.APPROVED,
    requested_by="on-call-engineer",
    approved_by="on-call-engineer",
    actions=ActionScope(["queue.drain"]),
    resources=ResourceScope(["payments:prod/**"]),
    not_before=Instant(1),
    expires_at=Instant(2),
    review_due=Instant(3),
)
REVOCATION = revoked(RevocationTarget.TASK, "job")


@pytest.mark.parametrize(
    ("ended", "again"),
    [
        (replace(JOB, state=TaskState.COMPLETED), JOB),
        (replace(JOB, state=TaskState.CANCELLED), replace(JOB, state=TaskState.COMPLETED)),
        (replace(OPENED, state=SessionState.CLOSED), OPENED),
        (replace(AGENT, state=IdentityState.RETIRED), AGENT),
        (replace(GLASS, state=ApprovalState.WITHDRAWN), GLASS),
        (replace(GLASS, state=ApprovalState.REJECTED), GLASS),
    ],
)
def test_a_fact_does_not_leave_a_final_state(ended: AnyFact, again: AnyFact) -> None:
    """Importing yesterday's file again revives nothing."""
    assert "which is final" in revived(again, ended)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, JOB),
        (JOB, replace(JOB, owner="other")),
        (replace(JOB, state=TaskState.COMPLETED), replace(JOB, state=TaskState.COMPLETED, owner="other")),
        (replace(AGENT, state=IdentityState.SUSPENDED), AGENT),
        (REVOCATION, replace(REVOCATION, reason="known by now")),
    ],
)
def test_other_changes_are_free(before: AnyFact | None, after: AnyFact) -> None:
    """New facts, other fields, and states that are not final."""
    assert revived(after, before) == ""


def test_a_revocation_is_not_lifted_by_writing_another_over_it() -> None:
    """Another target needs an id of its own."""
    other = replace(REVOCATION, target_id="other")
    assert revived(other, REVOCATION) == "revocation `r-job` is of task `job`; another target needs an id of its own"


@pytest.mark.parametrize(
    "weaker",
    [
        replace(REVOCATION, effective_at=Instant(REVOCATION.effective_at + 1)),
        replace(REVOCATION, expires_at=Instant(REVOCATION.effective_at + 1)),
    ],
)
def test_a_revocation_is_not_shortened_either(weaker: AnyFact) -> None:
    """A later begin, or an end, would let its target go."""
    assert revived(weaker, REVOCATION) == "revocation `r-job` is not shortened by an import; lift it"


def test_a_revocation_is_not_removed() -> None:
    """It is lifted, with a reason and by somebody else."""
    assert kept("r-job", REVOCATION) == "revocation `r-job` is not removed by an import; lift it"


def test_an_emergency_is_not_removed_before_it_is_reviewed() -> None:
    """Else importing would be the way around the review."""
    assert kept("glass", GLASS) == "break-glass `glass` is not removed by an import before it is reviewed"


@pytest.mark.parametrize("known", [None, JOB, replace(GLASS, reviewed_by="security")])
def test_other_facts_may_be_removed(known: AnyFact | None) -> None:
    """Removing what does not exist is no error."""
    assert kept("x", known) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": ApprovalKind.STANDARD},
        {"identity": "another"},
        {"requested_by": "another"},
        {"review_due": Instant(4)},
        {"kind": ApprovalKind.STANDARD, "review_due": None},
    ],
)
def test_an_emergency_does_not_get_out_of_its_review(changes: dict[str, object]) -> None:
    """Writing another one over it would, as removing it would."""
    assert "waits for its review" in revived(replace(GLASS, **changes), GLASS)
    assert revived(replace(GLASS, **changes), replace(GLASS, reviewed_by="head-of-payments")) == ""


def test_an_emergency_may_be_written_again() -> None:
    """As it is, due sooner, or reviewed."""
    for again in (GLASS, replace(GLASS, review_due=Instant(2)), replace(GLASS, reviewed_by="head-of-payments")):
        assert revived(again, GLASS) == ""


def test_who_revoked_does_not_become_another() -> None:
    """Who did could lift it else."""
    another = replace(REVOCATION, revoked_by="another")
    assert revived(another, REVOCATION) == "revocation `r-job` stays `security`'s: somebody else lifts it"
