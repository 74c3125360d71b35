"""What is due for review, and what the evidence of use suggests."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    Entitlement,
    Identity,
    IdentityKind,
    IdentityState,
    Instant,
    Session,
    SessionState,
    Task,
    TaskState,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Snapshot
from pdp.core.wording import SECOND
from pdp.evidence.usage.usage_summary import UNUSED, UsageSummary, UseCount
from pdp.governance.commands import ReviewChoice
from pdp.governance.review_queue import (
    MOST_LITERALS,
    Proposal,
    Review,
    Reviewable,
    ReviewCause,
    ReviewTimes,
    propose,
    review_of,
    urgency,
)

HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
NOW = Instant(1_000 * DAY)
EVER = Instant(0)
TIMES = ReviewTimes()
CERTIFICATION, EMERGENCY = ReviewCause.CERTIFICATION_DUE, ReviewCause.BREAK_GLASS
UNUSED_LONG, BROADER = ReviewCause.UNUSED, ReviewCause.BROADER_THAN_USED

ENTITLEMENT = Entitlement(
    id="e-1",
    identity=IdentityScope(["worker"]),
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:prod/**", "database:test/**"]),
    certified_until=Instant(NOW + 100 * DAY),
    reviewed_at=Instant(NOW - 10 * DAY),
)
EMERGENCY_TAKEN = Approval(
    id="bg-1",
    kind=ApprovalKind.BREAK_GLASS,
    requested_by="on-call-engineer",
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:prod/**"]),
    not_before=Instant(NOW - HOUR),
    expires_at=Instant(NOW + HOUR),
    review_due=Instant(NOW + DAY),
)
SESSION = Session(
    id="s-1",
    identity="worker",
    task="t-1",
    entitlement="e-1",
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:prod/**"]),
    not_before=Instant(NOW - 2 * HOUR),
    expires_at=Instant(NOW + HOUR),
)


def used(*pairs: tuple[str, str], ago: int = HOUR, first: int = 200 * DAY) -> UsageSummary:
    """Return one use of each pair of action and resource, the last of them some time ago."""
    last = Instant(NOW - ago)
    uses = tuple(UseCount(action, resource, 1, last) for action, resource in pairs)
    return UsageSummary(len(pairs), Instant(NOW - first), last, uses)


def due(fact: Reviewable, usage: UsageSummary = UNUSED, *facts: AnyFact, since: Instant = EVER) -> Review:
    """Return why the fact is due."""
    snapshot = Snapshot()
    basis = (Identity(id="worker", kind=IdentityKind.WORKLOAD, owner="team-a"), Task(id="t-1"), ENTITLEMENT)
    for one in (*basis, *facts, fact):
        snapshot.put(one)
    return review_of(fact, usage, snapshot, NOW, TIMES, since)


def proposed(fact: Reviewable, usage: UsageSummary = UNUSED) -> Proposal:
    """Return what is proposed for a fact that is due."""
    return propose(due(fact, usage), NOW)


BOTH = (("rows.read", "database:prod/users"), ("rows.read", "database:test/users"))


@pytest.mark.parametrize(
    ("until", "reviewed", "expected"),
    [
        (None, -1, True),
        (-1, -DAY, True),
        (0, -DAY, True),
        (14 * DAY, -DAY, True),
        (14 * DAY + 1, -DAY, False),
    ],
)
def test_a_certification_is_due_that_never_was_has_lapsed_or_ends_soon(
    until: int | None, reviewed: int, *, expected: bool
) -> None:
    """From the day on that is configured, to the nanosecond."""
    fact = replace(
        ENTITLEMENT,
        certified_until=None if until is None else Instant(NOW + until),
        reviewed_at=Instant(NOW + reviewed),
    )
    assert (CERTIFICATION in due(fact, used(*BOTH)).causes) is expected


def test_a_lapsed_certification_is_overdue_and_one_that_ends_soon_is_not() -> None:
    """A deadline is what has passed."""
    lapsed = due(replace(ENTITLEMENT, certified_until=NOW))
    soon = due(replace(ENTITLEMENT, certified_until=Instant(NOW + 1)))
    assert (lapsed.overdue, soon.overdue) == (True, False)


@pytest.mark.parametrize(("record", "whom"), [("worker", "worker"), ("ci/**", "ci/job"), ("ci/**", "ci/**")])
def test_entitlements_of_retired_identities_are_proposed_for_removal(record: str, whom: str) -> None:
    """Nobody can use them any more; a family's record stands for its members."""
    retired = Identity(id=record, kind=IdentityKind.WORKLOAD, state=IdentityState.RETIRED)
    fact = replace(ENTITLEMENT, identity=IdentityScope([whom]), certified_until=None)
    review = due(fact, UNUSED, retired)
    assert (review.causes, review.due) == ((ReviewCause.IDENTITY_RETIRED,), NOW)
    assert propose(review, NOW) == Proposal(ReviewChoice.REMOVE, "its identity is retired")


@pytest.mark.parametrize(
    ("last", "reviewed", "since", "expected"),
    [
        (None, -90 * DAY, 0, True),
        (None, -90 * DAY + 1, 0, False),
        (90 * DAY, -200 * DAY, 0, True),
        (90 * DAY - 1, -200 * DAY, 0, False),
        (200 * DAY, -10 * DAY, 0, False),
        (None, None, -90 * DAY, True),
        (None, None, -90 * DAY + 1, False),
    ],
)
def test_an_entitlement_is_unused_since_its_last_use_or_review(
    last: int | None, reviewed: int | None, since: int, *, expected: bool
) -> None:
    """Whichever is later; where there is neither, since there is evidence at all."""
    fact = replace(ENTITLEMENT, reviewed_at=None if reviewed is None else Instant(NOW + reviewed))
    usage = UNUSED if last is None else used(*BOTH, ago=last)
    assert (UNUSED_LONG in due(fact, usage, since=Instant(NOW + since)).causes) is expected


def test_what_cannot_be_used_is_not_called_unused() -> None:
    """A lapsed entitlement is due for its certification alone."""
    fact = replace(ENTITLEMENT, certified_until=NOW, reviewed_at=Instant(NOW - 300 * DAY))
    assert due(fact).causes == (CERTIFICATION,)


def test_an_entitlement_with_a_pattern_never_used_is_broader_than_used() -> None:
    """Once nobody has said for long that it is needed."""
    fact = replace(ENTITLEMENT, reviewed_at=Instant(NOW - 100 * DAY))
    reviewed = replace(ENTITLEMENT, reviewed_at=Instant(NOW - 10 * DAY))
    found = [
        due(one, usage).causes for one, usage in ((fact, used(BOTH[0])), (reviewed, used(BOTH[0])), (fact, used(*BOTH)))
    ]
    assert found == [(BROADER,), (), ()]


def test_one_review_has_every_cause() -> None:
    """The first that fell due says when."""
    fact = replace(ENTITLEMENT, reviewed_at=Instant(NOW - 100 * DAY), certified_until=Instant(NOW + DAY))
    review = due(fact)
    assert (review.causes, review.due, review.id) == (
        (CERTIFICATION, UNUSED_LONG),
        NOW - 10 * DAY,
        "entitlement:e-1",
    )


def test_an_emergency_is_due_until_it_is_reviewed() -> None:
    """An ordinary approval never is."""
    taken, late = due(EMERGENCY_TAKEN), due(replace(EMERGENCY_TAKEN, review_due=NOW))
    assert (taken.causes, taken.overdue, late.overdue) == ((EMERGENCY,), False, True)
    others = (replace(EMERGENCY_TAKEN, reviewed_by="security"), replace(EMERGENCY_TAKEN, kind=ApprovalKind.STANDARD))
    assert [due(one).causes for one in others] == [(), ()]


def test_a_session_broader_than_used_is_due() -> None:
    """By what it was used for, and if it was not used at all."""
    assert [due(SESSION, usage).causes for usage in (used(BOTH[0]), UNUSED)] == [(BROADER,), (BROADER,)]


@pytest.mark.parametrize(
    "change",
    [
        {"state": SessionState.CLOSED},
        {"expires_at": NOW},
        {"not_before": Instant(NOW - HOUR + 1)},
        {"reviewed_by": "security"},
        {"actions": ActionScope(["rows.read"]), "resources": ResourceScope(["database:prod/users"])},
    ],
)
def test_a_session_that_is_over_young_reviewed_or_fits_is_not_due(change: dict[str, object]) -> None:
    """There is nothing to ask."""
    assert due(replace(SESSION, **change), used(BOTH[0])).causes == ()


@pytest.mark.parametrize(
    "fact",
    [
        Task(id="t-1", state=TaskState.COMPLETED),
        Identity(id="worker", kind=IdentityKind.WORKLOAD, owner="team-a", state=IdentityState.RETIRED),
        replace(SESSION, id="s-0", state=SessionState.CLOSED),
        replace(ENTITLEMENT, certified_until=NOW),
    ],
)
def test_a_session_that_cannot_act_any_more_is_neither_due_nor_narrowed(fact: AnyFact) -> None:
    """What it rests on has ended; there is nothing left to narrow."""
    review = due(replace(SESSION, parent="s-0"), used(BOTH[0]), replace(SESSION, id="s-0"), fact)
    assert (review.causes, propose(review, NOW).choice) == ((), ReviewChoice.KEEP)
    living = due(replace(SESSION, parent="s-0"), used(BOTH[0]), replace(SESSION, id="s-0"))
    assert living.causes == (BROADER,)


def test_what_is_not_told_apart_is_not_called_broad() -> None:
    """More was used than the evidence says one by one."""
    usage = replace(used(BOTH[0]), truncated=True)
    fact = replace(ENTITLEMENT, reviewed_at=Instant(NOW - 100 * DAY))
    assert [due(SESSION, usage).causes, due(fact, usage).causes] == [(), ()]


def test_what_was_not_used_is_proposed_for_removal() -> None:
    """Or not for long."""
    fact = replace(ENTITLEMENT, reviewed_at=Instant(NOW - 100 * DAY))
    choices = [proposed(fact).choice, proposed(fact, used(*BOTH, ago=91 * DAY)).choice, proposed(SESSION).choice]
    assert choices == [ReviewChoice.REMOVE] * 3


def test_a_session_is_narrowed_to_the_very_things_it_was_used_for() -> None:
    """Its own patterns stay where they fit exactly."""
    fact = replace(SESSION, actions=ActionScope(["rows.read", "rows.write"]))
    expected = Proposal(
        ReviewChoice.NARROW, "used once, and only in part of its scope", ("rows.read",), ("database:prod/users",)
    )
    assert proposed(fact, used(BOTH[0])) == expected


def test_beyond_a_bound_patterns_are_kept_that_were_used() -> None:
    """A list of a thousand tables is no policy that anybody can read."""
    fact = replace(ENTITLEMENT, reviewed_at=Instant(NOW - 100 * DAY))
    many = used(*[("rows.read", f"database:prod/{number}") for number in range(MOST_LITERALS + 1)])
    assert proposed(fact, many).resources == ("database:prod/**",)


def test_what_was_used_before_the_scope_was_narrowed_is_not_proposed() -> None:
    """A proposal lies within what there is."""
    fact = replace(SESSION, resources=ResourceScope(["database:prod/*"]))
    assert proposed(fact, used(*BOTH)).resources == ("database:prod/users",)


def test_what_is_used_in_all_its_scope_is_proposed_to_be_kept() -> None:
    """So is what could not be used yet."""
    soon = replace(ENTITLEMENT, certified_until=Instant(NOW + DAY))
    new = replace(ENTITLEMENT, certified_until=None)
    assert [proposed(soon, used(*BOTH)).choice, proposed(new).choice] == [ReviewChoice.KEEP, ReviewChoice.KEEP]


def test_an_emergency_that_is_not_needed_is_proposed_to_be_ended() -> None:
    """Else it is kept, which says that it was right."""
    over = replace(EMERGENCY_TAKEN, expires_at=NOW)
    found = [proposed(EMERGENCY_TAKEN), proposed(EMERGENCY_TAKEN, used(BOTH[0])), proposed(over)]
    assert [one.choice for one in found] == [ReviewChoice.REMOVE, ReviewChoice.KEEP, ReviewChoice.KEEP]


def test_the_most_urgent_comes_first() -> None:
    """A deadline that has passed, then what has been due for longest."""
    reviews = [
        due(SESSION),
        due(replace(SESSION, id="s-2", not_before=Instant(NOW - 3 * HOUR))),
        due(EMERGENCY_TAKEN),
        due(replace(EMERGENCY_TAKEN, id="bg-2", review_due=NOW)),
    ]
    found = [review.id for review in sorted(reviews, key=urgency)]
    assert found == ["approval:bg-2", "session:s-2", "session:s-1", "approval:bg-1"]
