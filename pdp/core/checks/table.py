"""The decision table: every row, in precedence order. To add a rule, add a row to its group.

Order of groups and rows is the order of `reasons.Code`; `tests/unit/test_table.py` holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from pdp.core.checks import (
    approval,
    conditions,
    credential,
    entitlement,
    identity,
    limits,
    parent,
    request,
    scope,
    service,
    session,
    task,
)
from pdp.core.checks.row import Check, Row

GROUPS: Mapping[str, tuple[Row, ...]] = {
    "service": service.ROWS,
    "request": request.ROWS,
    "credential": credential.ROWS,
    "identity": identity.ROWS,
    "session": session.ROWS + parent.ROWS,
    "task": task.ROWS,
    "entitlement": entitlement.ROWS,
    "approval": approval.ROWS,
    "scope": scope.ROWS,
    "context": conditions.CONTEXT_ROWS,
    "policy": (conditions.DENIED, *limits.ROWS, conditions.ERROR),
}

TABLE: tuple[Row, ...] = tuple(row for rows in GROUPS.values() for row in rows)


@lru_cache(maxsize=2048)
def checks_reached(aspects: int) -> tuple[Check, ...]:
    """Return the checks of every row that is reached by a case with the aspects, in precedence order."""
    return tuple(row.check for row in TABLE if aspects & row.needs == row.needs)
