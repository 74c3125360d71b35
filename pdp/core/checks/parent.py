"""Parent chain: would each session this one was delegated by itself still be live?

An ancestor is judged by the very rows that judge a session; `tests/unit/test_table.py` holds that none is left out.
"""

from __future__ import annotations

from pdp.core.aspects import PARENT, SESSION
from pdp.core.case import MAX_ANCESTORS, Case
from pdp.core.checks import approval, entitlement, identity, session, task
from pdp.core.checks.row import Row
from pdp.core.reasons import Code, Denial

ANCESTOR_ROWS = identity.ROWS + session.ROWS + task.ROWS + entitlement.ROWS + approval.ROWS


def ended(case: Case) -> Denial | None:
    """An ancestor is missing, or has lost its identity, session, task, entitlement or approval."""
    for ancestor in case.ancestors:
        denial = _first_denial(Case.of_ancestor(case, ancestor))
        if denial is not None:
            message = f"parent session `{ancestor.id}` has ended: {denial.message}"
            return Denial(Code.PARENT_SESSION_ENDED, message, f"session:{ancestor.id}", denial.by)
    last = case.ancestors[-1] if case.ancestors else case.session
    if not last.parent:
        return None
    message = f"parent session `{last.parent}` is not known, or over {MAX_ANCESTORS} sessions away"
    return Denial(Code.PARENT_SESSION_ENDED, message, f"session:{last.parent}")


def _first_denial(case: Case) -> Denial | None:
    for row in ANCESTOR_ROWS:
        if case.aspects & row.needs == row.needs:
            denial = row.check(case)
            if denial is not None:
                return denial
    return None


ROWS = (Row(Code.PARENT_SESSION_ENDED, SESSION | PARENT, ended, "delegate anew from a live session"),)
