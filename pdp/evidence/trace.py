"""Trace context of a decision: W3C Trace Context level 1, `traceparent` only.

Rule 1: a malformed `traceparent` is as good as none: the decision starts a trace of its own.
Rule 2: the caller's sampling flag is honoured; a trace that starts here is sampled by ratio of its id, so that every
sidecar with the same ratio decides alike.
"""

from __future__ import annotations

import os
import random
import re

from msgspec import Struct

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED = 0x01
_RATIO_BITS = 64
_RATIO_MASK = (1 << _RATIO_BITS) - 1


class TraceContext(Struct, frozen=True, gc=False):
    """One span's place in a trace; ids in lower-case hex, 32 and 16 digits."""

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    sampled: bool = False

    @property
    def traceparent(self) -> str:
        """The header that makes this span the parent of the next."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(text: str) -> TraceContext | None:
    """Return the caller's span, or None if the text is not a valid `traceparent`.

    A version above 00 may carry more fields behind a dash; version ff and all-zero ids are invalid
    (https://www.w3.org/TR/trace-context/#traceparent-header).
    """
    match = _TRACEPARENT.fullmatch(text)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, "", bool(int(flags, 16) & _SAMPLED))


class Ids:
    """Source of trace, span and decision ids. Not for secrets: they need to be unique, not unguessable."""

    __slots__ = ("_bits", "_bound")

    def __init__(self, ratio: float = 1.0, seed: bytes | None = None) -> None:
        """Sample new traces by `ratio` (0 to 1); without a seed the ids differ in every process."""
        if not 0.0 <= ratio <= 1.0:
            message = f"sampling ratio `{ratio}` is not between 0 and 1"
            raise ValueError(message)
        self._bits = random.Random(os.urandom(32) if seed is None else seed).getrandbits  # noqa: S311  # no secret
        self._bound = round(ratio * (1 << _RATIO_BITS))

    def decision_id(self) -> str:
        """Return a new 128-bit id."""
        return f"{self._nonzero(128):032x}"

    def child(self, parent: TraceContext | None) -> TraceContext:
        """Return a new span below the parent, or the root of a new trace."""
        if parent is not None:
            return TraceContext(parent.trace_id, f"{self._nonzero(64):016x}", parent.span_id, parent.sampled)
        both = self._nonzero(192)
        text = f"{both:048x}"  # one number and one format for both ids: half the cost
        return TraceContext(text[16:], text[:16], "", both & _RATIO_MASK < self._bound)

    def _nonzero(self, bits: int) -> int:
        """All-zero ids mean "none" in the specification."""
        return self._bits(bits) or 1
