"""The blocking client of administration: how people and pipelines change facts.

Rule 1: every call has a deadline.
Rule 2: every command has an idempotency key, so that sending it again after a broken connection does it once.
Rule 3: a session opened by `session` is closed, however its block ends.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar, Unpack

import grpc

from sessionpdp.command_calls import DEFAULT_COMMAND_TIMEOUT, Attempts, CommandCalls, Page, PagedQuery, keyed_request
from sessionpdp.command_request import filled
from sessionpdp.commands import Change, Commands, OpenSessionFields
from sessionpdp.sessions import GovernedSession, OpenSessions
from sessionpdp.transport import PerProcess
from sessionpdp.v1 import governance_pb2, governance_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from google.protobuf.message import Message

    from sessionpdp.calling import TraceparentProvider
    from sessionpdp.command_calls import Token
    from sessionpdp.transport import ChannelOptions, Endpoint
    from sessionpdp.v1 import facts_pb2

Query = TypeVar("Query")
Response = TypeVar("Response")


class Governance(Commands[Change]):
    """Changes facts, and asks what they are; every error is a `GovernanceError`.

    Safe to share between threads and to create before a fork; connects when first used. Commands answer a `Change`,
    queries the contract's own messages.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: Token | None = None,
        timeout: float = DEFAULT_COMMAND_TIMEOUT,
        credentials: grpc.ChannelCredentials | None = None,
        traceparent: TraceparentProvider | None = None,
        options: ChannelOptions = (),
    ) -> None:
        """Take where the administration door is, who calls, and how to call it.

        `target`: gRPC name; None: `$SESSIONPDP_ADMIN_TARGET`, else `unix:///run/sessionpdp/admin.sock`. `token`: a
        bearer token, or a callable that returns the current one; refused (ValueError) where it would travel in
        plaintext. The others are as for `PDP`.
        """
        self._calls = CommandCalls.to(target, token, timeout, credentials, traceparent, options)
        self._connections = PerProcess(lambda: _Connection(self._calls.endpoint), _Connection.close)
        self._open_sessions = OpenSessions()

    def session(self, **fields: Unpack[OpenSessionFields]) -> GovernedSession:
        """Return a session for a `with` block: opened at its start, closed at its end.

        Closed also when the block raises, when SIGTERM stops the process (unless the application handles it), and when
        the process ends around it.
        """
        return GovernedSession(self, self._open_sessions, self.open_session, fields)

    def unowned_identities(self, *, timeout: float | None = None) -> tuple[facts_pb2.Identity, ...]:
        """Return the identities that nobody answers for (any more)."""
        request = governance_pb2.ListUnownedIdentitiesRequest()
        return tuple(self._ask(self._stub.ListUnownedIdentities, request, timeout).identities)

    def describe_session(
        self, session_id: str, *, decisions: int = 0, timeout: float | None = None
    ) -> governance_pb2.DescribeSessionResponse:
        """Return a session's whole story, with its latest `decisions` (0: 20)."""
        request = filled(governance_pb2.DescribeSessionRequest, {"session_id": session_id, "decisions": decisions})
        return self._ask(self._stub.DescribeSession, request, timeout)

    def revocations(
        self, *, target: str = "", target_id: str = "", timeout: float | None = None
    ) -> Iterator[facts_pb2.Revocation]:
        """Iterate over the revocations, of a kind of target or of one, those scheduled or over included."""
        request = filled(governance_pb2.ListRevocationsRequest, {"target": target, "target_id": target_id})
        pages = self._pages(self._stub.ListRevocations, request, timeout)
        return (revocation for page in pages for revocation in page.revocations)

    def reviews(self, *, cause: str = "", timeout: float | None = None) -> tuple[governance_pb2.Review, ...]:
        """Return what is to be reviewed, the most urgent first.

        `cause`: `certification_due`, `break_glass`, `unused`, `broader_than_used` or `identity_retired`; empty: any.
        """
        request = filled(governance_pb2.ListReviewsRequest, {"cause": cause})
        return tuple(self._ask(self._stub.ListReviews, request, timeout).reviews)

    def review(self, review_id: str, *, timeout: float | None = None) -> governance_pb2.Review:
        """Return one review with its evidence, by `kind:id` of the fact; raise `FactNotFound` if there is none."""
        request = filled(governance_pb2.GetReviewRequest, {"review_id": review_id})
        return self._ask(self._stub.GetReview, request, timeout).review

    def fact(self, kind: str, id: str, *, timeout: float | None = None) -> facts_pb2.Fact:  # noqa: A002 - the word of the contract
        """Return a fact; raise `FactNotFound` if there is none. `kind`: `identity`, `session` and so on."""
        request = filled(governance_pb2.GetFactRequest, {"kind": kind, "id": id})
        return self._ask(self._stub.GetFact, request, timeout).fact

    def facts(self, *, kind: str = "", timeout: float | None = None) -> Iterator[facts_pb2.Fact]:
        """Iterate over the facts of a kind, or of all."""
        request = filled(governance_pb2.ListFactsRequest, {"kind": kind})
        pages = self._pages(self._stub.ListFacts, request, timeout)
        return (fact for page in pages for fact in page.facts)

    def principal(self, *, timeout: float | None = None) -> governance_pb2.GetPrincipalResponse:
        """Return who the caller is here: name, roles, groups, identities, and the methods permitted."""
        return self._ask(self._stub.GetPrincipal, governance_pb2.GetPrincipalRequest(), timeout)

    def close(self) -> None:
        """Close this process's connection; a later call opens a new one. Sessions are not closed by this."""
        self._connections.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    @property
    def _stub(self) -> governance_pb2_grpc.GovernanceServiceStub:
        return self._connections.get().stub

    def _carry_out(self, command: str, given: Mapping[str, object], /, **fields: object) -> Change:
        request, timeout = keyed_request(command, {**given, **fields})
        call: grpc.UnaryUnaryMultiCallable[Message, Message] = getattr(self._stub, command)
        return Change.from_wire(self._ask(call, request, timeout))

    def _ask(
        self, call: grpc.UnaryUnaryMultiCallable[Query, Response], request: Query, timeout: float | None
    ) -> Response:
        """Call within the deadline, again if the connection broke; raise what an error means."""
        attempts, metadata = Attempts(self._calls.deadline(timeout)), self._calls.metadata()
        while True:
            try:
                return call(request, timeout=attempts.seconds_left(), metadata=metadata)
            except grpc.RpcError as error:
                pause = attempts.pause_after(error)
            time.sleep(pause)

    def _pages(
        self, call: grpc.UnaryUnaryMultiCallable[PagedQuery, Page], request: PagedQuery, timeout: float | None
    ) -> Iterator[Page]:
        while True:
            page = self._ask(call, request, timeout)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


class _Connection:
    def __init__(self, endpoint: Endpoint) -> None:
        self._channel = endpoint.channel()
        self.stub = governance_pb2_grpc.GovernanceServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()
