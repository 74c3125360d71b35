"""The reviewer's choice becomes the change; nobody reviews what they have a part in."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Drop,
    Entitlement,
    FactKind,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Snapshot
from pdp.core.wording import SECOND
from pdp.governance.commands import DecideReview, ReviewChoice
from pdp.governance.refusal import Refused, Rule
from pdp.governance.roles import Principal
from pdp.governance.rules.reviews import decide
from pdp.governance.table import COMMANDS
from pdp.governance.view import Plan, View

KEEP, NARROW, REMOVE = ReviewChoice.KEEP, ReviewChoice.NARROW, ReviewChoice.REMOVE
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
NOW = Instant(1_000 * DAY)
UNTIL = Instant(NOW + 90 * DAY)
REVIEWER = Principal(name="security")
ENTITLEMENT = Entitlement(
    id="e-1",
    revision=3,
    identity=IdentityScope(["worker"]),
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:prod/**"]),
    granted_by="operations",
)
EMERGENCY = Approval(
    id="bg-1",
    kind=ApprovalKind.BREAK_GLASS,
    state=ApprovalState.APPROVED,
    identity="worker",
    requested_by="on-call-engineer",
    approved_by="on-call-engineer",
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
    not_before=Instant(NOW - HOUR),
    expires_at=Instant(NOW + HOUR),
    opened_by="release-manager",
)
READING, USERS = ActionScope(["rows.read"]), ResourceScope(["database:prod/users"])


def outcome(
    fact: AnyFact, id_: str, choice: ReviewChoice, *, actor: Principal = REVIEWER, reason: str = "", **more: object
) -> Plan | Refused:
    """Return what comes of a choice about a fact."""
    snapshot = Snapshot()
    for one in (Identity(id="worker", kind=IdentityKind.WORKLOAD, owner="team-a"), fact):
        snapshot.put(one)
    command = DecideReview(review_id=id_, choice=choice, **more)  # type: ignore[arg-type]
    return decide(command, View(snapshot, NOW, actor, reason))


def written(result: Plan | Refused) -> tuple[object, ...]:
    """Return what a plan changes."""
    assert isinstance(result, Plan)
    return result.changes


def rules(result: Plan | Refused) -> list[str]:
    """Return the rules that refuse."""
    assert isinstance(result, Refused)
    return [one.rule for one in result.reasons]


def test_an_entitlement_that_is_kept_is_certified() -> None:
    """By the reviewer, until the date named."""
    expected = replace(ENTITLEMENT, certified_by="security", certified_until=UNTIL, reviewed_at=NOW)
    assert written(outcome(ENTITLEMENT, "entitlement:e-1", KEEP, until=UNTIL)) == (Put(expected),)


def test_an_entitlement_is_narrowed_and_certified_in_one_step() -> None:
    """Else it would be narrow and lapsed."""
    result = outcome(ENTITLEMENT, "entitlement:e-1", NARROW, until=UNTIL, actions=READING, resources=USERS)
    expected = replace(
        ENTITLEMENT,
        actions=READING,
        resources=USERS,
        certified_by="security",
        certified_until=UNTIL,
        reviewed_at=NOW,
    )
    assert written(result) == (Put(expected),)


def test_an_entitlement_that_is_removed_is_gone() -> None:
    """No session goes on under it."""
    assert written(outcome(ENTITLEMENT, "entitlement:e-1", REMOVE)) == (Drop(FactKind.ENTITLEMENT, "e-1"),)


@pytest.mark.parametrize("choice", [KEEP, NARROW])
def test_an_entitlement_persists_only_until_a_date(choice: ReviewChoice) -> None:
    """For ever is the stale path itself; what is removed, and what is no entitlement, needs none."""
    asked = [
        DecideReview(review_id="entitlement:e-1", choice=choice),
        DecideReview(review_id="entitlement:e-1", choice=choice, until=UNTIL),
        DecideReview(review_id="entitlement:e-1", choice=REMOVE),
        DecideReview(review_id="session:s-1", choice=choice),
    ]
    lacking = ("until", "is required to keep or narrow an entitlement")
    assert [[*COMMANDS[DecideReview].lacks(one)] for one in asked] == [[lacking], [], [], []]


def test_an_emergency_that_is_kept_is_reviewed() -> None:
    """That is all there is to do."""
    expected = (Put(replace(EMERGENCY, reviewed_by="security")),)
    assert written(outcome(EMERGENCY, "approval:bg-1", KEEP)) == expected


def test_an_emergency_that_is_removed_is_reviewed_and_revoked() -> None:
    """In one step."""
    revocation = Revocation(
        id="approval/bg-1/review",
        target=RevocationTarget.APPROVAL,
        target_id="bg-1",
        effective_at=NOW,
        reason="there was no incident",
        source="review",
        revoked_by="security",
    )
    result = outcome(EMERGENCY, "approval:bg-1", REMOVE, reason="there was no incident")
    assert written(result) == (Put(replace(EMERGENCY, reviewed_by="security")), Put(revocation))


def test_an_emergency_is_not_narrowed_afterwards() -> None:
    """What was done was done."""
    assert rules(outcome(EMERGENCY, "approval:bg-1", NARROW, actions=READING)) == [Rule.NOT_NARROWER]


def test_an_emergency_is_reviewed_once() -> None:
    """The second reviewer hears of the first."""
    reviewed = replace(EMERGENCY, reviewed_by="head-of-payments")
    assert rules(outcome(reviewed, "approval:bg-1", KEEP)) == [Rule.WRONG_STATE]


def test_a_session_that_is_kept_stays_as_it_is() -> None:
    """And leaves the queue."""
    assert written(outcome(SESSION, "session:s-1", KEEP)) == (Put(replace(SESSION, reviewed_by="security")),)


def test_a_session_is_narrowed_to_what_is_named() -> None:
    """What is not named stays as it is."""
    expected = replace(SESSION, resources=USERS, reviewed_by="security")
    assert written(outcome(SESSION, "session:s-1", NARROW, resources=USERS)) == (Put(expected),)


def test_a_session_that_is_removed_is_closed() -> None:
    """Its children end with it."""
    assert written(outcome(SESSION, "session:s-1", REMOVE)) == (Put(replace(SESSION, state=SessionState.CLOSED)),)


@pytest.mark.parametrize("choice", [KEEP, NARROW, REMOVE])
def test_a_closed_session_is_not_reviewed(choice: ReviewChoice) -> None:
    """What has ended is final."""
    closed = replace(SESSION, state=SessionState.CLOSED)
    assert rules(outcome(closed, "session:s-1", choice, actions=READING)) == [Rule.WRONG_STATE]


@pytest.mark.parametrize(
    ("fact", "id_"), [(ENTITLEMENT, "entitlement:e-1"), (SESSION, "session:s-1")], ids=["entitlement", "session"]
)
def test_narrowing_narrows(fact: AnyFact, id_: str) -> None:
    """Neither beyond what there is, nor by nothing."""
    wider = outcome(fact, id_, NARROW, until=UNTIL, resources=ResourceScope(["database:**"]))
    same = outcome(fact, id_, NARROW, until=UNTIL)
    assert [rules(wider)[0], rules(same)] == [Rule.NOT_NARROWER, [Rule.NOT_NARROWER]]


@pytest.mark.parametrize(
    ("fact", "id_", "who"),
    [
        (ENTITLEMENT, "entitlement:e-1", Principal(name="operations")),
        (ENTITLEMENT, "entitlement:e-1", Principal(name="worker")),
        (ENTITLEMENT, "entitlement:e-1", Principal(name="engineer", groups=frozenset({"team-a"}))),
        (EMERGENCY, "approval:bg-1", Principal(name="on-call-engineer")),
        (EMERGENCY, "approval:bg-1", Principal(name="team-a")),
        (SESSION, "session:s-1", Principal(name="release-manager")),
        (SESSION, "session:s-1", Principal(name="worker")),
    ],
)
@pytest.mark.parametrize("choice", [KEEP, REMOVE])
def test_nobody_reviews_what_they_have_a_part_in(fact: AnyFact, id_: str, who: Principal, choice: ReviewChoice) -> None:
    """Who granted, requested, opened, owns or is it; whatever the choice."""
    assert set(rules(outcome(fact, id_, choice, actor=who, until=UNTIL))) == {Rule.FOUR_EYES}


def test_what_has_changed_since_the_reviewer_looked_is_looked_at_again() -> None:
    """A choice is about what was seen."""
    seen = outcome(ENTITLEMENT, "entitlement:e-1", KEEP, until=UNTIL, revision=2)
    assert rules(seen) == [Rule.WRONG_STATE]
    assert written(outcome(ENTITLEMENT, "entitlement:e-1", KEEP, until=UNTIL, revision=3))


@pytest.mark.parametrize("id_", ["entitlement:e-2", "task:t-1", "approval:chg-1", "e-1", ""])
def test_what_is_not_reviewed_is_not_found(id_: str) -> None:
    """Of approvals only emergencies are."""
    standard = replace(EMERGENCY, id="chg-1", kind=ApprovalKind.STANDARD)
    assert rules(outcome(standard, id_, KEEP)) == [Rule.NOT_FOUND]
