"""What is due for review, why, and what the evidence of use suggests.

Rule 1: pure: the same facts, uses and instant give the same reviews.
Rule 2: one review per fact, with every cause there is for it.
Rule 3: what was used beyond what is told apart is in doubt, and in doubt nothing is called unused.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, TypeAlias, TypeGuard

from msgspec import Struct

from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Approval,
    ApprovalKind,
    Duration,
    Entitlement,
    FactKind,
    IdentityState,
    Instant,
    Session,
    SessionState,
)
from pdp.core.scope import Scope
from pdp.core.snapshot import Snapshot
from pdp.core.standing import is_live
from pdp.core.wording import SECOND, duration_text, instant_text
from pdp.evidence.usage.usage_summary import UsageSummary
from pdp.governance.commands import ReviewChoice

Reviewable: TypeAlias = Entitlement | Approval | Session
Urgency: TypeAlias = tuple[bool, Instant, str]
"""Sorts reviews; no two facts have the same."""

MOST_LITERALS = 50
"""Resources that a narrowed scope names one by one; beyond that it keeps those of its own patterns that were used."""


class ReviewTimes(Struct, frozen=True, kw_only=True):
    """When something falls due for review."""

    unused_after: Duration = Duration(90 * 86_400 * SECOND)
    """How long an entitlement, or one of its patterns, may go unused."""
    certify_ahead: Duration = Duration(14 * 86_400 * SECOND)
    """How long before its end a certification is due."""
    broad_after: Duration = Duration(3_600 * SECOND)
    """How long a session may have gone on before it is compared with what was used."""


class ReviewCause(StrEnum):
    """Why something is due."""

    CERTIFICATION_DUE = "certification_due"
    BREAK_GLASS = "break_glass"
    UNUSED = "unused"
    BROADER_THAN_USED = "broader_than_used"
    IDENTITY_RETIRED = "identity_retired"
    """Of an entitlement that is for nobody else: no longer can it be used by anyone."""


class Due(NamedTuple):
    """One cause, and when it is or was due."""

    cause: ReviewCause
    at: Instant
    deadline: bool
    """Whether something is amiss once that instant has passed; else it is when the question arose."""


class Review(Struct, frozen=True):
    """What there is to say about a fact that is, or might be, reviewed."""

    fact: Reviewable
    usage: UsageSummary
    causes: tuple[ReviewCause, ...]
    """Why it is due; none: it is not."""
    due: Instant | None
    """When the first of them was or falls due; None if there is none."""
    overdue: bool
    """Whether a deadline has passed."""

    @property
    def id(self) -> str:
        """`kind:id` of the fact."""
        return f"{KIND_OF[type(self.fact)]}:{self.fact.id}"


class Proposal(Struct, frozen=True):
    """What the evidence suggests; the scope to narrow to, where that is it."""

    choice: ReviewChoice
    why: str
    actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


def may_be_due(fact: AnyFact, snapshot: Snapshot, now: Instant, times: ReviewTimes) -> TypeGuard[Reviewable]:
    """Whether a fact can be due at all, before anybody looks up how it was used."""
    match fact:
        case Entitlement():
            return True
        case Approval():
            return fact.kind is ApprovalKind.BREAK_GLASS and not fact.reviewed_by
        case Session():
            grown = not fact.reviewed_by and fact.not_before + times.broad_after <= now < fact.expires_at
            # Most are over by themselves; only of the others is asked what they rest on, which costs more.
            return grown and fact.state is SessionState.OPEN and is_live(fact, snapshot, now)
        case _:
            return False


def review_of(
    fact: Reviewable, usage: UsageSummary, snapshot: Snapshot, now: Instant, times: ReviewTimes, since: Instant
) -> Review:
    """Return why a fact is due for review, if it is.

    `since`: when evidence begins; what was not used before that is not known.
    """
    judged = may_be_due(fact, snapshot, now, times)
    found = sorted(_dues(fact, usage, snapshot, now, times, since), key=lambda one: one.at) if judged else []
    overdue = any(one.deadline and one.at <= now for one in found)
    causes = tuple(sorted(one.cause for one in found))
    return Review(fact, usage, causes, found[0].at if found else None, overdue)


def propose(review: Review, now: Instant) -> Proposal:
    """Return what the evidence suggests to decide."""
    fact, usage, causes = review.fact, review.usage, review.causes
    if isinstance(fact, Approval):
        return _of_emergency(fact, usage, now)
    if ReviewCause.IDENTITY_RETIRED in causes:
        return Proposal(ReviewChoice.REMOVE, "its identity is retired")
    if ReviewCause.UNUSED in causes or (usage.last is None and _could_be_used(fact)):
        last = "never used" if usage.last is None else f"not used since {instant_text(usage.last)}"
        return Proposal(ReviewChoice.REMOVE, last)
    actions, resources = narrowed_to_use(fact, usage)
    if ReviewCause.BROADER_THAN_USED in causes:
        why = f"{_used(usage)}, and only in part of its scope"
        return Proposal(ReviewChoice.NARROW, why, actions, resources)
    return Proposal(ReviewChoice.KEEP, _used(usage) if usage.count else "it could not be used so far")


def narrowed_to_use(fact: Reviewable, usage: UsageSummary) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the actions and resources that a fact needs for what it was used for."""
    actions = _narrowed(fact.actions, {use.action for use in usage.uses})
    return actions, _narrowed(fact.resources, {use.resource for use in usage.uses})


def _dues(
    fact: Reviewable, usage: UsageSummary, snapshot: Snapshot, now: Instant, times: ReviewTimes, since: Instant
) -> Iterator[Due]:
    match fact:
        case Entitlement() if _is_retired(fact, snapshot):
            yield Due(ReviewCause.IDENTITY_RETIRED, now, deadline=False)
        case Entitlement():
            yield from _of_certification(fact, now, times)
            yield from _of_use(fact, usage, now, times, since)
        case Approval():
            yield Due(ReviewCause.BREAK_GLASS, fact.review_due or fact.not_before, deadline=True)
        case Session():
            kept = narrowed_to_use(fact, usage) == (fact.actions.patterns, fact.resources.patterns)
            if usage.count == 0 or not (kept or usage.truncated):
                at = Instant(fact.not_before + times.broad_after)
                yield Due(ReviewCause.BROADER_THAN_USED, at, deadline=False)


def _of_certification(fact: Entitlement, now: Instant, times: ReviewTimes) -> Iterator[Due]:
    """Due is a certification that never was, has lapsed or is about to."""
    until = now if fact.certified_until is None else fact.certified_until
    if until <= now + times.certify_ahead:
        yield Due(ReviewCause.CERTIFICATION_DUE, until, deadline=True)


def _of_use(fact: Entitlement, usage: UsageSummary, now: Instant, times: ReviewTimes, since: Instant) -> Iterator[Due]:
    """Due is what was not used for long, in whole or in part, since somebody last said that it is needed."""
    if fact.certified_until is None or fact.certified_until <= now:
        return  # it could not be used
    known = since if fact.reviewed_at is None else fact.reviewed_at
    unused = Instant(max(usage.last or known, known) + times.unused_after)
    if unused <= now:
        yield Due(ReviewCause.UNUSED, unused, deadline=False)
    partly = Instant(max(usage.first or known, known) + times.unused_after)
    if usage.uses and not usage.truncated and partly <= now and _never_used(fact, usage):
        yield Due(ReviewCause.BROADER_THAN_USED, partly, deadline=False)


def _never_used(fact: Entitlement, usage: UsageSummary) -> bool:
    """Whether any pattern of the fact covers nothing that was used."""
    hit = (*_hit(fact.actions, {use.action for use in usage.uses}),)
    hit += (*_hit(fact.resources, {use.resource for use in usage.uses}),)
    return len(hit) < len(fact.actions.patterns) + len(fact.resources.patterns)


def _of_emergency(fact: Approval, usage: UsageSummary, now: Instant) -> Proposal:
    if usage.count == 0 and now < fact.expires_at:
        left = duration_text(fact.expires_at - now)
        return Proposal(ReviewChoice.REMOVE, f"not used so far, and good for another {left}")
    return Proposal(ReviewChoice.KEEP, f"{_used(usage)}; look at what was done")


def _used(usage: UsageSummary) -> str:
    return f"used {usage.count} times" if usage.count > 1 else "used once" if usage.count else "not used"


def _could_be_used(fact: Reviewable) -> bool:
    """Whether not being used says anything: an entitlement that nobody has certified cannot be."""
    return not isinstance(fact, Entitlement) or fact.certified_until is not None


def _is_retired(fact: Entitlement, snapshot: Snapshot) -> bool:
    """Whether each identity that the entitlement is for has gone for good."""
    records = [snapshot.identities.get(id_) or snapshot.family_of(id_) for id_ in fact.identity.patterns]
    return all(one is not None and one.state is IdentityState.RETIRED for one in records)


def _narrowed(scope: Scope, used: set[str]) -> tuple[str, ...]:
    """Return the patterns that cover what was used and nothing else, or those of the scope's own that do cover it.

    What was used before the scope became what it is, and lies outside it now, is left out.
    """
    used = {value for value in used if scope.covers(value)}
    if not used or len(used) > MOST_LITERALS:
        return tuple(_hit(scope, used)) or scope.patterns
    exact = [pattern for pattern in scope.patterns if pattern in used]
    return (*exact, *sorted(used.difference(exact)))


def _hit(scope: Scope, used: set[str]) -> Iterator[str]:
    """Yield the patterns of a scope that cover anything that was used."""
    for pattern in scope.patterns:
        covers = type(scope)([pattern]).covers
        if any(map(covers, used)):
            yield pattern


def urgency(review: Review) -> Urgency:
    """Return what sorts reviews, the most urgent first: passed deadlines, then the longest due."""
    return not review.overdue, review.due or Instant(0), review.id


KINDS = (FactKind.ENTITLEMENT, FactKind.APPROVAL, FactKind.SESSION)
"""The kinds of fact that are reviewed, the fewest first."""
