"""Request: may this caller ask about this subject?

REQUEST_INVALID has no row: a request that is not well-formed never becomes a `Request`.
"""

from __future__ import annotations

from pdp.core.aspects import CALLER
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.reasons import Code, Denial


def caller_not_permitted(case: Case) -> Denial | None:
    """The caller is known, but asks about somebody else."""
    caller = case.request.caller
    if caller is not None and not caller.may_ask.covers(case.subject):
        message = f"caller `{caller.id}` may not ask about subject `{case.subject}`"
        return Denial(Code.CALLER_NOT_PERMITTED, message, f"identity:{case.subject}")
    return None


ROWS = (
    Row(Code.CALLER_NOT_PERMITTED, CALLER, caller_not_permitted, "ask about yourself, or have the subject configured"),
)
