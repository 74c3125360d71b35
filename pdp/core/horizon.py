"""When time alone may change an answer.

For an allow the earliest such instant is its `valid_until`; for a deny it is when to ask again. Conditions that
read `now` are not foreseen: `Rules.reads_clock` says whether there are any.
"""

from __future__ import annotations

from pdp.core.aspects import APPROVAL, BREAK_GLASS, CREDENTIAL, ENTITLEMENT, IDENTITY, PARENT, SESSION, SIGNALS_READ
from pdp.core.case import Case
from pdp.core.checks import approval, credential
from pdp.core.model import Instant, Revocation, SessionState
from pdp.core.wording import SECOND

NEVER = Instant(253_402_300_799 * SECOND)
"""The end of the year 9999: the last instant the wire format can say."""


_UNUSUAL = CREDENTIAL | PARENT | BREAK_GLASS | SIGNALS_READ


def end_of_allow(case: Case, *, used: bool) -> Instant:
    """Return `next_edge` of a case that no check denies: the earliest of the ends it rests on.

    All its beginnings lie behind and all its ends ahead, so the usual allow needs no search: 0.4 µs instead of 1.8
    (`benchmarks/test_core.py`).
    """
    if case.aspects & _UNUSUAL or len(case.candidates) > 1 or case.now < case.snapshot.scheduled_until:
        return next_edge(case, used=used)
    session, limit, until = case.session, case.rules.idle_timeout, case.entitlement.certified_until
    end = session.expires_at
    if until is not None and until < end:
        end = until
    if case.aspects & APPROVAL and case.approval.expires_at < end:
        end = case.approval.expires_at
    if session.idle_timeout is not None or limit is not None:
        since = case.now if used else case.last_use()
        for timeout in (session.idle_timeout, None if limit is None else limit.bound):
            if timeout is not None and since + timeout < end:
                end = Instant(since + timeout)
    return end


def next_edge(case: Case, *, used: bool) -> Instant:
    """Return the earliest instant after now at which a check of the case may turn; NEVER if there is none.

    `used`: whether this very answer counts as a use, so that idle timeouts start now.
    """
    now = case.now
    edges: list[int] = []
    if case.aspects & SESSION:
        _add_session(edges, case, used=used)
    for candidate in case.candidates:
        if candidate.state is SessionState.OPEN:  # a closed one never fits, whatever the time
            edges += (candidate.not_before, candidate.expires_at)
    if case.aspects & CREDENTIAL:
        edges += credential.edges(case)
    for ancestor in case.ancestors:
        _add_session(edges, Case.of_ancestor(case, ancestor), used=used)
    if case.aspects & SIGNALS_READ:
        edges += (signal.expires_at for signal in case.signals())
    if now < case.snapshot.revocations_until:
        _add_revocations(edges, case)
    earliest: int = NEVER
    for edge in edges:
        if now < edge < earliest:
            earliest = edge
    return earliest  # type: ignore[return-value]  # every edge is an instant; NewType's call would cost 5 % here


def _add_session(edges: list[int], case: Case, *, used: bool) -> None:
    """Add the edges of a session and of what it rests on."""
    session = case.session
    edges += (session.not_before, session.expires_at)
    own, limit = session.idle_timeout, case.rules.idle_timeout
    if own is not None or limit is not None:
        since = case.now if used else case.last_use()
        if own is not None:
            edges.append(since + own)
        if limit is not None:
            edges.append(since + limit.bound)
    if case.aspects & ENTITLEMENT and case.entitlement.certified_until is not None:
        edges.append(case.entitlement.certified_until)
    if case.aspects & APPROVAL:
        edges += (case.approval.not_before, case.approval.expires_at)
        edges += approval.review_dues(case)


def _add_revocations(edges: list[int], case: Case) -> None:
    """Add when any revocation of anything the case touches begins or stops to override."""
    for revocation in _revocations(case):
        edges.append(revocation.effective_at)
        if revocation.expires_at is not None:
            edges.append(revocation.expires_at)


def _revocations(case: Case) -> list[Revocation]:
    snapshot, found = case.snapshot, list[Revocation]()
    for subject in (case.subject, *snapshot.revocation_families.covering(case.subject)):
        found += snapshot.revoked_identities.get(subject, ())
    found += snapshot.revoked_sessions.get(case.session_id, ())
    if case.aspects & IDENTITY:
        found += snapshot.revoked_owners.get(case.identity.owner, ())
    if case.aspects & CREDENTIAL:
        found += snapshot.revoked_credentials.get(case.credential.id, ())
        found += snapshot.revoked_issuers.get(case.credential.issuer, ())
    if case.aspects & SESSION:
        found += snapshot.revoked_tasks.get(case.session.task, ())
        found += snapshot.revoked_entitlements.get(case.session.entitlement, ())
        found += snapshot.revoked_approvals.get(case.session.approval, ())
    for task in case.tasks:
        found += snapshot.revoked_tasks.get(task.parent, ())
    for ancestor in case.ancestors:
        found += _revocations(Case.of_ancestor(case, ancestor))
    return found
