"""Which facts, known or not, a decision depends on, as keys of `touch`.

A change that shares no key with a case cannot alter its decision; `tests/property/test_touch.py` holds this.
"""

from __future__ import annotations

from collections.abc import Iterable

from pdp.core.aspects import CREDENTIAL, IDENTITY, SESSION
from pdp.core.case import Case
from pdp.core.touch import EVERYTHING, NEWS


def keys_of(case: Case) -> frozenset[str]:
    """Return the keys of all facts, known or not, that the case's decision depends on."""
    keys = frozenset([EVERYTHING, *_keys_of(case)])
    return keys | {NEWS} if case.request.at_least_revision > case.snapshot.revision else keys


def _keys_of(case: Case) -> Iterable[str]:
    yield f"identity:{case.subject}"
    yield f"about:{case.subject}"
    yield f"session:{case.session_id}"
    yield f"about:{case.session_id}"
    if case.aspects & IDENTITY:
        yield f"identity:{case.identity.id}"
        yield f"owner:{case.identity.owner}"
    if case.aspects & CREDENTIAL:
        yield f"credential:{case.credential.id}"
        yield f"issuer:{case.credential.issuer}"
    if case.aspects & SESSION:
        yield from _keys_of_session(case)
    for candidate in case.candidates:
        yield f"session:{candidate.id}"
    for ancestor in case.ancestors:
        yield from _keys_of(Case.of_ancestor(case, ancestor))


def _keys_of_session(case: Case) -> Iterable[str]:
    session = case.session
    yield f"session:{session.parent}"
    yield f"task:{session.task}"
    yield f"entitlement:{session.entitlement}"
    yield f"approval:{session.approval}"
    for task in case.tasks:
        yield f"task:{task.parent}"
    if session.approval:
        requester = case.snapshot.approvals.get(session.approval)
        yield f"about:{requester.requested_by if requester is not None else ''}"
