"""How instants and durations read in messages."""

from __future__ import annotations

from datetime import UTC, datetime

from pdp.core.model import Duration, Instant

SECOND = 1_000_000_000
_UNITS = (("d", 86_400 * SECOND), ("h", 3_600 * SECOND), ("m", 60 * SECOND), ("s", SECOND), ("ms", SECOND // 1000))
_LAST_INSTANT = 253_402_300_800 * SECOND - 1


def instant_text(instant: Instant) -> str:
    """Return an instant in RFC 3339, UTC, without trailing zeros: `2026-03-01T09:00:00Z`."""
    seconds, nanos = divmod(min(max(instant, Instant(0)), _LAST_INSTANT), SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos:09d}".rstrip("0") + "Z" if nanos else text + "Z"


def second_text(instant: Instant) -> str:
    """Return an instant likewise, without the part of a second that nobody asked for."""
    return instant_text(Instant(instant - instant % SECOND))


def whole_seconds(duration: Duration | int) -> Duration:
    """Return a duration without the last part of a second, if there is more to it, so that it can be asked for."""
    return Duration(duration - duration % SECOND or duration)


def duration_text(duration: Duration | int) -> str:
    """Return a duration as `1h30m`, exact down to the millisecond."""
    parts, rest = "", duration
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts += f"{count}{unit}"
    return parts or "0s"
