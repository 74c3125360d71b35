"""Parent chain: would each session this one was delegated by itself still be live?

An ancestor is judged by the very rows that judge a session, so it cannot be forgotten when a row is added.
"""

from __future__ import annotations

from pdp.core.case import MAX_ANCESTORS, PARENT, Case
from pdp.core.checks import approval, entitlement, identity, session, task
from pdp.core.checks.row import Row
from pdp.core.reasons import Code, Denial

_ANCESTOR_ROWS = identity.ROWS + session.ROWS + task.ROWS + entitlement.ROWS + approval.ROWS


def ended(case: Case) -> Denial | None:
    """An ancestor is missing, or has lost its identity, session, task, entitlement or approval."""
    for ancestor in case.ancestors:
        if ancestor is None:
            message = f"a parent of session `{case.session_id}` is not known, or over {MAX_ANCESTORS} sessions away"
            return Denial(Code.PARENT_SESSION_ENDED, message, f"session:{case.session_id}")
        denial = _first_denial(Case.of_ancestor(case, ancestor))
        if denial is not None:
            message = f"parent session `{ancestor.id}` has ended: {denial.message}"
            return Denial(Code.PARENT_SESSION_ENDED, message, f"session:{ancestor.id}", denial.by)
    return None


def _first_denial(case: Case) -> Denial | None:
    for row in _ANCESTOR_ROWS:
        if case.present & row.needs == row.needs:
            denial = row.check(case)
            if denial is not None:
                return denial
    return None


ROWS = (Row(Code.PARENT_SESSION_ENDED, PARENT, ended, "delegate anew from a live session"),)
