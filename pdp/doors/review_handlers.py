"""Reviews in GovernanceService, free of any transport: what is due, what the evidence suggests, what is decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from google.protobuf.message import Message
from msgspec import Struct
from msgspec.structs import replace
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.model import KIND_OF, Approval, ApprovalKind, Entitlement, FactKind, Instant, Session
from pdp.core.scope import ActionScope, ResourceScope
from pdp.core.snapshot import Snapshot
from pdp.doors.call import Call
from pdp.doors.command_wire import command_of
from pdp.doors.errors import NotFoundError
from pdp.doors.fact_handlers import query_of
from pdp.doors.facts_wire import message_of
from pdp.doors.fields_wire import fill
from pdp.doors.fitting import that_fit
from pdp.doors.governance_handlers import CommandHandlers
from pdp.doors.governing import Permit
from pdp.doors.looking_up import LookUps
from pdp.doors.usage_wire import fill_usage
from pdp.doors.wire import timestamp
from pdp.evidence.usage.usage_summary import UNUSED, UsageSummary
from pdp.governance.commands import DecideReview, ReviewChoice
from pdp.governance.review_queue import (
    KINDS,
    Proposal,
    Review,
    Reviewable,
    ReviewCause,
    ReviewTimes,
    Urgency,
    may_be_due,
    propose,
    review_of,
    urgency,
)

MOST_LISTED = 1000
"""Reviews of one answer, if it holds them; once they are decided, others follow."""
_SLICE = 50
"""Facts judged before checks get their turn: a few milliseconds at most."""
_CAUSES = {cause: pb.ReviewCause.Value(f"REVIEW_CAUSE_{cause.upper()}") for cause in ReviewCause}


class Usage(Protocol):
    """What was used, as far as reviews need it; each may wait for the disk, so it is asked from a thread."""

    def used_by_each(self, kind: FactKind, ids: Sequence[str]) -> dict[str, UsageSummary]:
        """Return the uses of those that have any; raise UsageUnavailableError if they cannot be told."""

    def since(self) -> Instant | None:
        """Return when evidence begins; None: not yet; as `used_by_each`."""


class _WantedReviews(Struct, frozen=True):
    """The reviews that ListReviews asks for."""

    cause: ReviewCause | None = None


class _Listed(Struct, frozen=True):
    """A review with what is proposed; without the single uses, which are many."""

    review: Review
    proposal: Proposal


class ReviewHandlers:
    """The methods about reviews."""

    def __init__(
        self,
        snapshot: Snapshot,
        now: Callable[[], Instant],
        usage: Usage,
        times: ReviewTimes,
        commands: CommandHandlers,
    ) -> None:
        """`now` is decision time."""
        self._snapshot = snapshot
        self._now = now
        self._usage = usage
        self._times = times
        self._commands = commands
        self._look_ups = LookUps()

    async def list_reviews(self, message: pb.ListReviewsRequest, call: Call, _: Permit) -> pb.ListReviewsResponse:
        """Tell what is due, the most urgent first, at most `MOST_LISTED`."""
        cause = query_of(message, _WantedReviews).cause
        response = pb.ListReviewsResponse(revision=self._snapshot.revision)
        found: list[tuple[Urgency, _Listed]] = []
        async for one in self._due(call):
            if cause is None or cause in one.review.causes:
                found.append((urgency(one.review), one))
            if len(found) > 2 * MOST_LISTED:
                found = sorted(found)[:MOST_LISTED]  # by an urgency that no two of them share
        listed = (_message(one.review, one.proposal) for _urgency, one in sorted(found)[:MOST_LISTED])
        for number, review in enumerate(that_fit(listed)):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            response.reviews.append(review)
        return response

    async def get_review(self, message: pb.GetReviewRequest, call: Call, _: Permit) -> pb.GetReviewResponse:
        """Tell what there is to say about one fact, whether it is due or not."""
        review = await self._review(message.review_id, call)
        if review is None:
            text = f"nothing is up for review by the id `{message.review_id}`"
            raise NotFoundError(text)
        proposal = propose(review, self._now())
        return pb.GetReviewResponse(review=_message(review, proposal), revision=self._snapshot.revision)

    async def decide_review(self, message: pb.DecideReviewRequest, call: Call, permit: Permit) -> Message:
        """Have the reviewer's choice become the change; narrowed is to what is proposed unless it is said to what."""
        sent = command_of(message, DecideReview)
        command = await self._filled_in(sent, call)
        return await self._commands.carry_out(command, message, call, permit, sent=sent)

    async def _filled_in(self, command: DecideReview, call: Call) -> DecideReview:
        if command.choice is not ReviewChoice.NARROW or command.actions.patterns or command.resources.patterns:
            return command
        review = await self._review(command.review_id, call)
        proposal = None if review is None else propose(review, self._now())
        if proposal is None or proposal.choice is not ReviewChoice.NARROW:
            return command
        return replace(command, actions=ActionScope(proposal.actions), resources=ResourceScope(proposal.resources))

    async def _review(self, review_id: str, call: Call) -> Review | None:
        fact = self._fact(review_id)
        if fact is None:
            return None
        return (await self._judged(KIND_OF[type(fact)], [fact], call))[0]

    def _fact(self, review_id: str) -> Reviewable | None:
        kind, _, id_ = review_id.partition(":")
        fact = self._snapshot.fact(FactKind(kind), id_) if kind in KINDS else None
        if isinstance(fact, Approval) and fact.kind is not ApprovalKind.BREAK_GLASS:
            return None
        return fact if isinstance(fact, Entitlement | Approval | Session) else None

    async def _due(self, call: Call) -> AsyncIterator[_Listed]:
        for kind in KINDS:
            facts = self._snapshot.facts(kind)
            for start in range(0, len(facts), _SLICE):
                await asyncio.sleep(0)
                now = self._now()
                some = [
                    one for one in facts[start : start + _SLICE] if may_be_due(one, self._snapshot, now, self._times)
                ]
                for review in await self._judged(kind, some, call) if some else ():
                    if review.causes:
                        without_uses = replace(review, usage=replace(review.usage, uses=()))
                        yield _Listed(without_uses, propose(review, now))

    async def _judged(self, kind: FactKind, facts: Sequence[Reviewable], call: Call) -> list[Review]:
        ids = [fact.id for fact in facts]
        uses, since = await self._look_ups.run(call, lambda: self._look_up(kind, ids))
        now = self._now()
        begin = now if since is None else since
        return [review_of(fact, uses.get(fact.id, UNUSED), self._snapshot, now, self._times, begin) for fact in facts]

    def _look_up(self, kind: FactKind, ids: Sequence[str]) -> tuple[dict[str, UsageSummary], Instant | None]:
        return self._usage.used_by_each(kind, ids), self._usage.since()


def _message(review: Review, proposal: Proposal) -> pb.Review:
    message = pb.Review(
        id=review.id,
        causes=[_CAUSES[cause] for cause in review.causes],
        due=None if review.due is None else timestamp(review.due),
        overdue=review.overdue,
        fact=message_of(review.fact),
    )
    fill_usage(message.usage, review.usage)
    fill(message.proposal, proposal)
    return message
