"""Instants and durations as evidence writes them: exact to the nanosecond, instants of one width to sort as text."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from pdp.core.model import Duration, Instant

_SECOND = 1_000_000_000
_LAST_SECOND = 253_402_300_799


@lru_cache(maxsize=4096)  # most records share their seconds
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), _LAST_SECOND), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def instant_text(instant: Instant) -> str:
    """Return an instant in RFC 3339, UTC, always nine decimals: `2026-03-01T09:00:00.000000000Z`."""
    return f"{_second_text(instant // _SECOND)}.{instant % _SECOND:09d}Z"


def parse_instant(text: str) -> Instant:
    """Return the instant of what `instant_text` wrote; raise ValueError for anything else."""
    seconds, _, nanos = text.removesuffix("Z").partition(".")
    return Instant(_second_of(seconds) * _SECOND + int(nanos))


@lru_cache(maxsize=4096)
def _second_of(text: str) -> int:
    if len(text) != len("2026-03-01T09:00:00") or (text[4], text[7], text[10]) != ("-", "-", "T"):
        message = f"`{text}` is not an instant of the journal"
        raise ValueError(message)
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def duration_text(duration: Duration) -> str:
    """Return a duration as JSON of protocol buffers writes it: `90s`, `0.250000000s`."""
    seconds, nanos = divmod(duration, _SECOND)
    return f"{seconds}.{nanos:09d}s" if nanos else f"{seconds}s"
