"""The blocking client of administration: how people and pipelines change facts.

Rule 1: every call has a deadline.
Rule 2: every command has an idempotency key, so that sending it again after a broken connection does it once.
Rule 3: a session opened by `session` is closed, however its block ends.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Unpack

from sessionpdp.admin_client import AdminClient
from sessionpdp.command_calls import keyed_request
from sessionpdp.command_request import filled
from sessionpdp.commands import Change, Commands, OpenSessionFields
from sessionpdp.sessions import GovernedSession, OpenSessions
from sessionpdp.v1 import governance_pb2, governance_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import grpc
    from google.protobuf.message import Message

    from sessionpdp.v1 import facts_pb2


class Governance(AdminClient[governance_pb2_grpc.GovernanceServiceStub], Commands[Change]):
    """Changes facts, and asks what they are; every error is a `GovernanceError`.

    Safe to share between threads and to create before a fork; connects when first used. Commands answer a `Change`,
    queries the contract's own messages.
    """

    @cached_property
    def _open_sessions(self) -> OpenSessions:
        # Two that threads make at once do no harm: each session stays with the one it was added to.
        return OpenSessions()

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

    def _service(self, channel: grpc.Channel) -> governance_pb2_grpc.GovernanceServiceStub:
        return governance_pb2_grpc.GovernanceServiceStub(channel)

    def _carry_out(self, command: str, given: Mapping[str, object], /, **fields: object) -> Change:
        request, timeout = keyed_request(command, {**given, **fields})
        call: grpc.UnaryUnaryMultiCallable[Message, Message] = getattr(self._stub, command)
        return Change.from_wire(self._ask(call, request, timeout))
