"""Facts as people read them: every field that says something, below each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from msgspec.structs import FieldInfo, fields
from rich.text import Text

from pdp.cli.decision_view import rows
from pdp.cli.times import time_text, until_text
from pdp.core.model import AnyFact, Consent, Duration, Instant
from pdp.core.scope import Scope
from pdp.core.wording import SECOND, duration_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_UNSHOWN = frozenset({"traceparent", "revision"})


def fact_view(fact: AnyFact) -> Table:
    """Return a fact with its id and the revision that wrote it."""
    written = [("revision", Text(str(fact.revision)))] if fact.revision else []
    return rows(iter([*fact_rows(fact), *written]))


def fact_rows(fact: AnyFact, *, own_id: bool = True) -> Iterator[tuple[str, RenderableType]]:
    """Yield label and value of each field that says something, with or without the id."""
    for info in fields(type(fact)):
        value = getattr(fact, info.name)
        if (own_id or info.name != "id") and info.name not in _UNSHOWN and value not in (None, "", (), {}):
            yield info.name.replace("_", " "), Text(_text(info, value))


def field_text(fact: AnyFact, name: str) -> str:
    """Return the value of one field on one line; nothing if it says nothing."""
    info = next(one for one in fields(type(fact)) if one.name == name)
    value = getattr(fact, name)
    return "" if value is None else ", ".join(_text(info, value).splitlines())


def moment_of(instant: Instant) -> datetime:
    """Return an instant as the time it is, to the microsecond."""
    return datetime.fromtimestamp(instant // SECOND, UTC).replace(microsecond=instant % SECOND // 1000)


def instant_and_distance(instant: Instant) -> str:
    """Return an instant, and how far away it is by this machine's clock."""
    return until_text(moment_of(instant), datetime.now(UTC))


def consent_text(consent: Consent) -> str:
    """Return who has consented, when, and in which groups."""
    groups = f", of {', '.join(consent.groups)}" if consent.groups else ""
    return f"{consent.by} at {time_text(moment_of(consent.at))}{groups}"


def _text(info: FieldInfo, value: object) -> str:
    if info.type in (Instant, Instant | None):
        return instant_and_distance(cast("Instant", value))
    if info.type in (Duration, Duration | None):
        return duration_text(cast("Duration", value))
    if isinstance(value, Scope):
        return "\n".join(value.patterns)
    if isinstance(value, tuple):
        return "\n".join(consent_text(one) if isinstance(one, Consent) else str(one) for one in value)
    if isinstance(value, dict):
        return "\n".join(f"{name}={_member(member)}" for name, member in value.items())
    return str(value)


def _member(value: object) -> str:
    """Return a label, or the values a constraint leaves."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
