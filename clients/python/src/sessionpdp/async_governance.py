"""The asyncio client of administration: the rules of the blocking client."""

# ruff: noqa: ASYNC109 - `timeout` becomes the deadline that the sidecar is told, not only a local limit

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Unpack

from sessionpdp.async_admin_client import AsyncAdminClient
from sessionpdp.command_calls import keyed_request
from sessionpdp.command_request import filled
from sessionpdp.commands import Change, Commands, OpenSessionFields
from sessionpdp.sessions import AsyncGovernedSession
from sessionpdp.v1 import governance_pb2, governance_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import grpc
    from google.protobuf.message import Message

    from sessionpdp.v1 import facts_pb2


class AsyncGovernance(AsyncAdminClient["governance_pb2_grpc.GovernanceServiceAsyncStub"], Commands[Awaitable[Change]]):
    """Changes facts, and asks what they are, from asyncio; the contract is that of `Governance`.

    Safe to share between event loops and to create before any: each loop has its own connection, made when first used.
    """

    def session(self, **fields: Unpack[OpenSessionFields]) -> AsyncGovernedSession:
        """Return a session for an `async with` block: opened at its start, closed at its end.

        Closed also when the block raises or is cancelled, and when SIGTERM stops the process (unless the application
        handles it).
        """
        return AsyncGovernedSession(self, self.open_session, fields)

    async def unowned_identities(self, *, timeout: float | None = None) -> tuple[facts_pb2.Identity, ...]:
        """Return the identities that nobody answers for (any more)."""
        request = governance_pb2.ListUnownedIdentitiesRequest()
        return tuple((await self._ask(self._stub.ListUnownedIdentities, request, timeout)).identities)

    async def describe_session(
        self, session_id: str, *, decisions: int = 0, timeout: float | None = None
    ) -> governance_pb2.DescribeSessionResponse:
        """Return a session's whole story, with its latest `decisions` (0: 20)."""
        request = filled(governance_pb2.DescribeSessionRequest, {"session_id": session_id, "decisions": decisions})
        return await self._ask(self._stub.DescribeSession, request, timeout)

    def revocations(
        self, *, target: str = "", target_id: str = "", timeout: float | None = None
    ) -> AsyncIterator[facts_pb2.Revocation]:
        """Iterate over the revocations, as `Governance.revocations` does."""
        request = filled(governance_pb2.ListRevocationsRequest, {"target": target, "target_id": target_id})
        pages = self._pages(self._stub.ListRevocations, request, timeout)
        return (revocation async for page in pages for revocation in page.revocations)

    async def reviews(self, *, cause: str = "", timeout: float | None = None) -> tuple[governance_pb2.Review, ...]:
        """Return what is to be reviewed, as `Governance.reviews` does."""
        request = filled(governance_pb2.ListReviewsRequest, {"cause": cause})
        return tuple((await self._ask(self._stub.ListReviews, request, timeout)).reviews)

    async def review(self, review_id: str, *, timeout: float | None = None) -> governance_pb2.Review:
        """Return one review with its evidence, as `Governance.review` does."""
        request = filled(governance_pb2.GetReviewRequest, {"review_id": review_id})
        return (await self._ask(self._stub.GetReview, request, timeout)).review

    async def fact(self, kind: str, id: str, *, timeout: float | None = None) -> facts_pb2.Fact:  # noqa: A002 - the word of the contract
        """Return a fact; raise `FactNotFound` if there is none."""
        request = filled(governance_pb2.GetFactRequest, {"kind": kind, "id": id})
        return (await self._ask(self._stub.GetFact, request, timeout)).fact

    def facts(self, *, kind: str = "", timeout: float | None = None) -> AsyncIterator[facts_pb2.Fact]:
        """Iterate over the facts of a kind, or of all."""
        request = filled(governance_pb2.ListFactsRequest, {"kind": kind})
        pages = self._pages(self._stub.ListFacts, request, timeout)
        return (fact async for page in pages for fact in page.facts)

    async def principal(self, *, timeout: float | None = None) -> governance_pb2.GetPrincipalResponse:
        """Return who the caller is here: name, roles, groups, identities, and the methods permitted."""
        return await self._ask(self._stub.GetPrincipal, governance_pb2.GetPrincipalRequest(), timeout)

    def _service(self, channel: grpc.aio.Channel) -> governance_pb2_grpc.GovernanceServiceAsyncStub:
        return governance_pb2_grpc.GovernanceServiceStub(channel)

    async def _carry_out(self, command: str, given: Mapping[str, object], /, **fields: object) -> Change:
        request, timeout = keyed_request(command, {**given, **fields})
        call: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = getattr(self._stub, command)
        return Change.from_wire(await self._ask(call, request, timeout))
