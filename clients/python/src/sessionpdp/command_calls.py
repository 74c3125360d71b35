"""How commands and queries travel: as whom, until when, and when they are sent again.

Rule 1: a token never leaves the machine in plaintext.
Rule 2: whatever is sent again can do no harm twice: a query, a dry run, or a command under an idempotency key.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar, cast

import grpc

from sessionpdp.calling import MAX_BATCH, CallDefaults, Deadline, trace_metadata
from sessionpdp.command_request import command_request
from sessionpdp.refusals import GovernanceUnavailable, InvalidCommand, trouble_of
from sessionpdp.request import InvalidCheck
from sessionpdp.transport import Endpoint
from sessionpdp.v1 import evidence_pb2, governance_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from sessionpdp.calling import Metadata, TraceparentProvider
    from sessionpdp.transport import ChannelOptions

DEFAULT_COMMAND_TIMEOUT: Final = 5.0
"""Seconds. A change is on disk, and where there is a fleet agreed on, before it is answered; this leaves room for a
restart of the sidecar, and bounds what a dead one costs."""

_PAUSES: Final = (0.1, 0.6)
"""Seconds before the second and third attempt; the last is longer than a channel backs off (`CHANNEL_OPTIONS`)."""

PagedQuery = TypeVar(
    "PagedQuery",
    governance_pb2.ListFactsRequest,
    governance_pb2.ListRevocationsRequest,
    evidence_pb2.ListRecordsRequest,
)


class AnyPage(Protocol):
    """The part of an answer that pages share."""

    @property
    def next_page_token(self) -> str:
        """What names the next page; empty on the last one."""
        ...


Page = TypeVar("Page", bound=AnyPage)

Token: TypeAlias = str | Callable[[], str]
"""A bearer token, or what returns the current one for each call."""


@dataclass(frozen=True, slots=True)
class CommandCalls:
    """How one client calls the administration door."""

    endpoint: Endpoint
    defaults: CallDefaults
    token: Token | None = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse to send a token where others could read it."""
        if self.token is not None and not self.endpoint.keeps_secrets():
            msg = f"a token would be readable on the way to `{self.endpoint.target}`: give `credentials` for TLS"
            raise ValueError(msg)

    @classmethod
    def to(
        cls,
        target: str | None,
        token: Token | None,
        timeout: float,
        credentials: grpc.ChannelCredentials | None,
        traceparent: TraceparentProvider | None,
        options: ChannelOptions,
    ) -> CommandCalls:
        """Return how to call a target."""
        endpoint = Endpoint.of_administration(target, credentials, options)
        return cls(endpoint, CallDefaults(timeout, traceparent, MAX_BATCH), token)

    def deadline(self, timeout: float | None) -> Deadline:
        """Return the deadline of a call that starts now; raise `InvalidCommand` for no number of seconds."""
        try:
            return self.defaults.deadline(timeout)
        except InvalidCheck as error:
            raise InvalidCommand(str(error)) from error

    def metadata(self) -> Metadata:
        """Return who calls, and within which trace."""
        token = self.token() if callable(self.token) else self.token
        bearer = () if token is None else (("authorization", f"Bearer {_printable(token)}"),)
        return trace_metadata(self.defaults.current_traceparent()) + bearer


def keyed_request(command: str, fields: Mapping[str, object]) -> tuple[Message, float | None]:
    """Return the message of a command and its timeout.

    Without an idempotency key the message gets one of its own, unless it is a dry run, which needs none.
    """
    asked = {**fields}
    timeout = cast("float | None", asked.pop("timeout", None))  # judged by `deadline`
    if not asked.get("idempotency_key") and not asked.get("dry_run"):
        asked["idempotency_key"] = str(uuid.uuid4())
    return command_request(command, asked), timeout


class Attempts:
    """The attempts at one call within its deadline: at most three, and more than one only if the connection broke."""

    def __init__(self, deadline: Deadline) -> None:
        """Start before the first attempt."""
        self._deadline = deadline
        self._pauses = iter(_PAUSES)

    def seconds_left(self) -> float:
        """Return the timeout of the next attempt; raise `GovernanceUnavailable` if there is no time for one."""
        remaining = self._deadline.remaining()
        if remaining <= 0:
            raise GovernanceUnavailable(grpc.StatusCode.DEADLINE_EXCEEDED.name, "no time is left to ask")
        return remaining

    def pause_after(self, error: grpc.RpcError) -> float:
        """Return the seconds to wait before the next attempt; raise what the error means if there is none."""
        trouble = trouble_of(error)
        pause = next(self._pauses, None)
        broken = isinstance(trouble, GovernanceUnavailable) and trouble.status == grpc.StatusCode.UNAVAILABLE.name
        if not broken or pause is None or pause >= self._deadline.remaining():
            raise trouble from error
        return pause


def _printable(token: str) -> str:
    # gRPC would refuse it too, and print it.
    if not token or not all("!" <= letter <= "~" for letter in token):
        msg = "the token must be printable ASCII without spaces"
        raise ValueError(msg)
    return token
