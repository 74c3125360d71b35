"""Instants as people read them: the time itself, and how far away it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_UNITS_SHOWN = 2


def time_text(moment: datetime) -> str:
    """Return the time in RFC 3339, UTC, to the second: `2026-03-01T09:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact_text(moment: datetime | None) -> str | None:
    """Return the time in RFC 3339, UTC, to the microsecond where it has any; None for None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def span_text(span: timedelta) -> str:
    """Return the two largest units of a span of time, rounded down: `3d4h`, `29m12s`, `0s`."""
    rest = int(abs(span).total_seconds())
    parts: list[str] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return "".join(parts[:_UNITS_SHOWN]) or "0s"


def until_text(moment: datetime, now: datetime) -> str:
    """Return the time and its distance: `2026-03-01T09:00:00Z, in 29m12s`."""
    distance = f"in {span_text(moment - now)}" if moment > now else f"{span_text(now - moment)} ago"
    return f"{time_text(moment)}, {distance}"
