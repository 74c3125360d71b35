"""The review queue behind its door: bounded, the most urgent first, and honest about what is not due."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sessionpdp.v1 import governance_pb2 as pb

from pdp.clock import ManualClock
from pdp.core.model import AnyFact, Identity, IdentityKind, Instant, Task
from pdp.core.snapshot import Snapshot
from pdp.doors import review_handlers
from pdp.doors.call import Call
from pdp.doors.governance_handlers import CommandHandlers
from pdp.doors.governing import Permit
from pdp.doors.review_handlers import ReviewHandlers
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.trace import Ids
from pdp.evidence.usage.usage_book import UsageBook
from pdp.governance.desk import Desk
from pdp.governance.review_queue import ReviewTimes
from pdp.governance.roles import Principal, Role
from pdp.state.memory import MemoryStore
from tests.unit.test_review_queue import EMERGENCY_TAKEN, ENTITLEMENT, HOUR, NOW, SESSION

CALL, PERMIT = Call("ListReviews"), Permit(Principal(name="auditor"), Role.AUDITOR)


class InForce:
    """A state that is as new as it gets."""

    revision = 0

    async def applied(self, revision: int, timeout_s: float) -> bool:
        """Wait for nothing."""
        return True


@pytest.fixture
def book(tmp_path: Path) -> Iterator[UsageBook]:
    """Return the book of a journal in which nothing is used."""
    empty = UsageBook()
    empty.resume(tmp_path, 0)
    yield empty
    empty.close()


def handlers(book: UsageBook, *facts: AnyFact) -> ReviewHandlers:
    """Return the handlers over some facts."""
    snapshot, clock = Snapshot(), ManualClock(NOW)
    for fact in (
        Identity(id="worker", kind=IdentityKind.WORKLOAD, owner="team-a"),
        Task(id="t-1"),
        ENTITLEMENT,
        *facts,
    ):
        snapshot.put(fact)
    desk = Desk(MemoryStore(), snapshot, InForce(), clock, MemoryEvidence(), Ids(seed=b"x"))
    return ReviewHandlers(snapshot, clock.now, book, ReviewTimes(), CommandHandlers(desk))


async def listed(reviews: ReviewHandlers, request: pb.ListReviewsRequest) -> list[str]:
    """Return the ids of what is listed."""
    return [review.id for review in (await reviews.list_reviews(request, CALL, PERMIT)).reviews]


async def test_of_many_reviews_the_most_urgent_are_listed(book: UsageBook, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are due, an answer is bounded."""
    monkeypatch.setattr(review_handlers, "MOST_LISTED", 3)
    monkeypatch.setattr(review_handlers, "_SLICE", 4)
    sessions = [replace(SESSION, id=f"s-{age}", not_before=Instant(NOW - age * HOUR)) for age in range(2, 22)]
    reviews = handlers(book, *sessions, replace(EMERGENCY_TAKEN, review_due=NOW))
    assert await listed(reviews, pb.ListReviewsRequest()) == ["approval:bg-1", "session:s-21", "session:s-20"]


async def test_reviews_are_listed_by_cause(book: UsageBook) -> None:
    """For who works through one kind of them."""
    request = pb.ListReviewsRequest(cause=pb.REVIEW_CAUSE_BREAK_GLASS)
    assert await listed(handlers(book, SESSION, EMERGENCY_TAKEN), request) == ["approval:bg-1"]


async def test_what_is_not_due_is_told_without_a_cause(book: UsageBook) -> None:
    """A reviewer may look at what nobody has asked about."""
    reviews = handlers(book, replace(SESSION, reviewed_by="security"))
    review = (await reviews.get_review(pb.GetReviewRequest(review_id="session:s-1"), CALL, PERMIT)).review
    assert (list(review.causes), review.HasField("due"), review.fact.session.id) == ([], False, "s-1")
