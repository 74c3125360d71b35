"""What every call is given when the caller does not say: a deadline and a trace parent."""

from __future__ import annotations

import math
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, Unpack

from sessionpdp.request import CheckFields, InvalidCheck, check_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sessionpdp.request import Check
    from sessionpdp.v1 import decision_pb2

DEFAULT_TIMEOUT: Final = 0.25
"""Seconds. A sidecar answers in well under a millisecond, and in a few tens when the answer must reach
its disk first; this leaves room for a slow disk or a reconnect, and bounds what a dead sidecar costs."""

MAX_BATCH: Final = 256
"""Checks in one message: enough to spread its cost, few enough to keep the PDP's loop responsive."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

TraceparentProvider: TypeAlias = "Callable[[], str | None]"
Metadata: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Return the seconds left, negative once it has passed."""
        return self.at - time.monotonic()

    def passed(self) -> bool:
        """Tell whether an answer now would be too late."""
        return time.monotonic() >= self.at


@dataclass(frozen=True, slots=True)
class CallDefaults:
    """How one client fills in its calls."""

    timeout: float
    traceparent_provider: TraceparentProvider | None
    max_batch: int

    def __post_init__(self) -> None:
        """Refuse what could get no answer."""
        if not self.seconds(self.timeout) > 0:
            msg = f"`timeout` must be more than 0 seconds, got `{self.timeout}`"
            raise ValueError(msg)
        if self.max_batch < 1:
            msg = f"`max_batch` must be at least 1, got `{self.max_batch}`"
            raise ValueError(msg)

    def deadline(self, timeout: float | None) -> Deadline:
        """Return the deadline of a call that starts now.

        A `timeout` of 0 or less, such as what is left of a caller's own deadline, has passed already.
        """
        return Deadline.after(self.seconds(timeout))

    def seconds(self, timeout: float | None) -> float:
        """Return the timeout of a call; raise `InvalidCheck` unless it is a finite number."""
        if timeout is None:
            return self.timeout
        if not isinstance(timeout, int | float) or not math.isfinite(timeout):
            msg = f"`timeout` must be a finite number of seconds, got `{timeout}`"
            raise InvalidCheck(msg)
        return timeout

    def request(self, **fields: Unpack[CheckFields]) -> decision_pb2.CheckRequest:
        """Return the message of one check, with its trace parent."""
        given = _well_formed(fields.get("traceparent", ""))
        fields["traceparent"] = given or self.current_traceparent()
        return check_request(**fields)

    def requests(self, checks: Sequence[Check]) -> list[decision_pb2.CheckRequest]:
        """Return the messages in order; raise `InvalidCheck` that names the first bad item."""
        requests: list[decision_pb2.CheckRequest] = []
        for index, check in enumerate(checks):
            try:
                requests.append(self.request(**check.fields()))
            except InvalidCheck as error:
                msg = f"`checks[{index}]`: {error}"
                raise InvalidCheck(msg) from error
        _refuse_repeated_names(requests)
        return requests

    def current_traceparent(self) -> str:
        """Return the trace parent of the running code, empty if there is none."""
        if self.traceparent_provider is None:
            return _opentelemetry_traceparent()
        return _well_formed(self.traceparent_provider() or "")


def trace_metadata(traceparent: str) -> Metadata:
    """Return the metadata of a call with that trace parent."""
    return (("traceparent", traceparent),) if traceparent else ()


def _well_formed(traceparent: str) -> str:
    # W3C Trace Context 4.3: a malformed header is ignored, not an error; it may come from a stranger.
    return traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else ""


def _refuse_repeated_names(requests: Sequence[decision_pb2.CheckRequest]) -> None:
    # The contract wants request ids unique within a batch.
    first: dict[str, int] = {}
    for index, request in enumerate(requests):
        name = request.request_id
        if name and first.setdefault(name, index) != index:
            msg = f"`checks[{index}]`: `request_id` `{name}` is that of `checks[{first[name]}]`"
            raise InvalidCheck(msg)


def _opentelemetry_traceparent() -> str:
    # Looked up, never imported: tracing is the application's choice, and this must not load it.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return ""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
