"""Service: may this snapshot be decided on at all?

EVIDENCE_UNAVAILABLE, OVERLOADED and INTERNAL_ERROR have no row: they concern the sidecar around the decision,
which denies with `refuse` before or after the table is asked.
"""

from __future__ import annotations

from pdp.core.aspects import REVISION_ASKED, UNREADY
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Readiness

_NOT_READY, _STALE = Readiness.NOT_READY, Readiness.STALE


def not_ready(case: Case) -> Denial | None:
    """Nothing has been loaded."""
    if case.snapshot.readiness is _NOT_READY:
        return Denial(Code.STATE_NOT_READY, _NOT_READY.value)
    return None


def stale(case: Case) -> Denial | None:
    """A revocation may have been missed."""
    if case.snapshot.readiness is _STALE:
        return Denial(Code.STATE_STALE, _STALE.value)
    return None


def behind(case: Case) -> Denial | None:
    """The caller knows of a write that has not arrived."""
    asked, applied = case.request.at_least_revision, case.snapshot.revision
    if asked > applied:
        return Denial(Code.STATE_BEHIND, f"revision {asked} was asked for, {applied} is applied")
    return None


ROWS = (
    Row(Code.STATE_NOT_READY, UNREADY, not_ready, "wait until the sidecar has loaded its first snapshot"),
    Row(Code.STATE_STALE, UNREADY, stale, "restore the connection to the store"),
    Row(Code.STATE_BEHIND, REVISION_ASKED, behind, "ask again, with a longer deadline"),
)
