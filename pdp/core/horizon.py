"""When time alone may change an answer.

For an allow the earliest such instant is its `valid_until`; for a deny it is when to ask again. Conditions that
read `now` are not foreseen: `Rules.variables` says whether there are any.
"""

from __future__ import annotations

from pdp.core.case import Case
from pdp.core.checks import approval, credential, task
from pdp.core.model import Duration, Instant, RevocationTarget, Session
from pdp.core.wording import SECOND

NEVER = Instant(253_402_300_799 * SECOND)
"""The end of the year 9999: the last instant the wire format can say."""


def next_edge(case: Case, *, used: bool) -> Instant:
    """Return the earliest instant after now at which a check of the case may turn; NEVER if there is none.

    `used`: whether this very answer counts as a use, so that idle timeouts start now.
    """
    now = case.now
    edges: list[int] = []
    session = case.session
    if session is not None:
        _add_session(edges, case, session, used=used)
    for candidate in case.candidates if session is None else ():
        edges += (candidate.not_before, candidate.expires_at)
    if case.credential is not None:
        edges += credential.edges(case)
    for ancestor in case.ancestors:
        if ancestor is not None:
            _add_session(edges, Case.of_ancestor(case, ancestor), ancestor, used=used)
    if "signals" in case.rules.variables:
        edges += (signal.expires_at for signal in case.signals())
    if now < case.snapshot.last_revocation_edge:
        edges += _revocation_edges(case)
    earliest = NEVER
    for edge in edges:
        if now < edge < earliest:
            earliest = Instant(edge)
    return earliest


def _add_session(edges: list[int], case: Case, session: Session, *, used: bool) -> None:
    """Add the edges of a session and of what it rests on."""
    edges += (session.not_before, session.expires_at)
    idle = _idle_timeout(case, session)
    if idle is not None:
        edges.append((case.now if used else case.last_use(session)) + idle)
    if case.entitlement is not None and case.entitlement.certified_until is not None:
        edges.append(case.entitlement.certified_until)
    if case.approval is not None:
        edges += (case.approval.not_before, case.approval.expires_at)
        edges += approval.review_dues(case)


def _idle_timeout(case: Case, session: Session) -> int | None:
    own, limit = session.idle_timeout, case.rules.idle_timeout
    if limit is None:
        return own
    return limit.bound if own is None else min(own, Duration(limit.bound))


def _revocation_edges(case: Case) -> list[int]:
    """Return when any revocation of anything the case touches begins or stops to override."""
    edges: list[int] = []
    for target, id_ in _revocable(case):
        for revocation in case.snapshot.revoked[target].get(id_, ()):
            edges.append(revocation.effective_at)
            if revocation.expires_at is not None:
                edges.append(revocation.expires_at)
    return edges


def _revocable(case: Case) -> list[tuple[RevocationTarget, str]]:
    names = [(RevocationTarget.IDENTITY, case.subject), (RevocationTarget.SESSION, case.session_id)]
    names += [(RevocationTarget.IDENTITY, family) for family in case.snapshot.revocation_families.covering(case.subject)]
    if case.identity is not None:
        names.append((RevocationTarget.OWNER, case.identity.owner))
    if case.credential is not None:
        names += [
            (RevocationTarget.CREDENTIAL, case.credential.id),
            (RevocationTarget.ISSUER, case.credential.issuer),
        ]
    if case.session is not None:
        names += [
            (RevocationTarget.TASK, case.session.task),
            (RevocationTarget.ENTITLEMENT, case.session.entitlement),
            (RevocationTarget.APPROVAL, case.session.approval),
        ]
    names += [(RevocationTarget.TASK, ancestor.parent) for ancestor in task.lineage(case) if ancestor.parent]
    for ancestor in case.ancestors:
        if ancestor is not None:
            names += _revocable(Case.of_ancestor(case, ancestor))
    return names
