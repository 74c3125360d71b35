"""A break-glass is loud: whoever takes it is named in the log, once, and so is a review that is overdue."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    FactKind,
    Instant,
    Put,
    Task,
)
from pdp.core.scope import ActionScope, ResourceScope
from pdp.core.wording import SECOND
from pdp.evidence.record import ChangeRecord, Lapse, LapseRecord
from pdp.evidence.telemetry.alarms import Alarms
from pdp.evidence.trace import TraceContext

NOW = Instant(1_772_355_600 * SECOND)
TAKEN = Approval(
    id="b-1",
    kind=ApprovalKind.BREAK_GLASS,
    state=ApprovalState.APPROVED,
    identity="job",
    ticket="INC-7",
    requested_by="on-call-engineer",
    approved_by="on-call-engineer",
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:**"]),
    not_before=NOW,
    expires_at=Instant(NOW + 3600 * SECOND),
    review_due=Instant(NOW + 86_400 * SECOND),
)


def change(*facts: AnyFact, at: int = 0, method: str = "TakeBreakGlass") -> ChangeRecord:
    """Return the record of a commit some nanoseconds later."""
    changes = tuple(Put(fact) for fact in facts)
    return ChangeRecord(revision=1, changes=changes, actor="on-call-engineer", at=Instant(NOW + at), method=method)


@pytest.mark.parametrize("method", ["TakeBreakGlass", "ApplyFacts", ""])
def test_a_break_glass_that_is_taken_is_told_whatever_way_it_came(method: str) -> None:
    """By command, by import, or found in the store after a crash."""
    alarms = Alarms()
    with capture_logs() as logs:
        alarms.hear([change(Task(id="t-1"), TAKEN, method=method)])
    assert logs == [
        {
            "event": "break-glass taken",
            "log_level": "warning",
            "identity": "job",
            "approval": "b-1",
            "incident": "INC-7",
            "requested_by": "on-call-engineer",
            "review_due": "2026-03-02T09:00:00.000000000Z",
        }
    ]
    assert alarms.taken == 1


def test_it_is_told_once() -> None:
    """Its approval may be written again while it lasts."""
    alarms = Alarms()
    with capture_logs() as logs:
        alarms.hear([change(TAKEN), change(replace(TAKEN, justification="more"), at=5)])
        alarms.hear([change(replace(TAKEN, id="b-2"), at=6), change(TAKEN, at=7)])
    assert [line["approval"] for line in logs] == ["b-1", "b-2"]
    assert alarms.taken == 2


@pytest.mark.parametrize(
    "fact",
    [
        replace(TAKEN, kind=ApprovalKind.STANDARD),
        replace(TAKEN, state=ApprovalState.WITHDRAWN),
        replace(TAKEN, reviewed_by="security"),
        replace(TAKEN, expires_at=NOW),
        Task(id="t-1"),
    ],
)
def test_what_is_no_break_glass_that_somebody_takes_is_not_told(fact: AnyFact) -> None:
    """It is over, was reviewed, or is something else."""
    alarms = Alarms()
    with capture_logs() as logs:
        alarms.hear([change(fact)])
    assert (logs, alarms.taken) == ([], 0)


@pytest.mark.parametrize("what", list(Lapse))
def test_a_review_that_falls_overdue_is_told(what: Lapse) -> None:
    """No other lapse is."""
    record = LapseRecord(
        at=NOW, ended_at=NOW, what=what, kind=FactKind.APPROVAL, id="b-1", identity="job",
        trace=TraceContext("a" * 32, "b" * 16),
    )  # fmt: skip
    with capture_logs() as logs:
        Alarms().hear([record])
    overdue = {
        "event": "break-glass review overdue",
        "log_level": "warning",
        "approval": "b-1",
        "identity": "job",
        "review_due": "2026-03-01T09:00:00.000000000Z",
    }
    assert logs == ([overdue] if what is Lapse.REVIEW_OVERDUE else [])
