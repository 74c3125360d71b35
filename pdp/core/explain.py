"""The same table row by row: what passed, what failed, what could not be reached, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from pdp.core.aspects import APPROVAL, APPROVAL_NAMED, CREDENTIAL, ENTITLEMENT, IDENTITY, NO_SESSION, SESSION, TASK
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.checks.table import GROUPS
from pdp.core.decide import decide
from pdp.core.decision import Decision
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Snapshot


class Verdict(Enum):
    """What became of a row."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"
    """A fact that the row judges is missing."""


class Explained(Struct, frozen=True):
    """One row of the table, for one request."""

    group: str
    code: Code
    verdict: Verdict
    facts: tuple[str, ...]
    """The facts it looked at, as `kind:id`."""
    denial: Denial | None
    remedy: str
    """What would change the verdict; empty unless it failed."""


def explain(request: Request, snapshot: Snapshot, now: Instant) -> tuple[Decision, tuple[Explained, ...]]:
    """Return the decision, counting no use, and what became of every row, in precedence order."""
    case = Case(request, snapshot, now)
    rows = tuple(_explained(group, row, case) for group, rows in GROUPS.items() for row in rows)
    return decide(request, snapshot, now, used=False), rows


def _explained(group: str, row: Row, case: Case) -> Explained:
    facts = tuple(_facts(row, case))
    if row.needs & _expected(case) & ~case.aspects:
        return Explained(group, row.code, Verdict.NOT_REACHED, facts, None, "")
    denial = row.check(case) if case.aspects & row.needs == row.needs else None
    if denial is None:
        return Explained(group, row.code, Verdict.PASSED, facts, None, "")
    return Explained(group, row.code, Verdict.FAILED, facts, denial, row.remedy)


def _expected(case: Case) -> int:
    """Return the facts whose absence keeps a row from being judged; a session may do without an approval."""
    return _ALWAYS_EXPECTED | APPROVAL if case.aspects & (APPROVAL_NAMED | NO_SESSION) else _ALWAYS_EXPECTED


def _facts(row: Row, case: Case) -> Iterator[str]:
    reached = row.needs & case.aspects
    for aspect, fact in (
        (IDENTITY, case.identity),
        (SESSION, case.session),
        (TASK, case.task),
        (ENTITLEMENT, case.entitlement),
        (APPROVAL, case.approval),
    ):
        if reached & aspect:
            yield f"{_KINDS[aspect]}:{fact.id}"
    if reached & CREDENTIAL:
        yield f"credential:{case.credential.id}"


_ALWAYS_EXPECTED = IDENTITY | SESSION | TASK | ENTITLEMENT
_KINDS = {IDENTITY: "identity", SESSION: "session", TASK: "task", ENTITLEMENT: "entitlement", APPROVAL: "approval"}
