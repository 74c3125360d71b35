"""How a fact reads in a change record: the words of the model, instants and durations as text, defaults left out."""

from __future__ import annotations

from functools import cache
from typing import cast, get_type_hints

import msgspec

from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Attribute,
    Change,
    Consent,
    Drop,
    Duration,
    Instant,
)
from pdp.core.scope import Scope
from pdp.evidence.instants import duration_text, instant_text


def change_json(change: Change) -> dict[str, Attribute]:
    """Return one change: `{op: put, kind, id, fact}` or `{op: drop, kind, id}`."""
    if isinstance(change, Drop):
        return {"op": "drop", "kind": change.kind.value, "id": change.id}
    fact = change.fact
    return {"op": "put", "kind": KIND_OF[type(fact)].value, "id": fact.id, "fact": _struct_json(fact)}


def _struct_json(struct: AnyFact | Consent) -> dict[str, Attribute]:
    instants, durations = _times_of(type(struct))
    document: dict[str, Attribute] = {}
    for name, default in _defaults_of(type(struct)):
        value: object = getattr(struct, name)
        if value is None or value == default:
            continue
        if name in instants:
            document[name] = instant_text(cast("Instant", value))
        elif name in durations:
            document[name] = duration_text(cast("Duration", value))
        else:
            document[name] = _value_json(value)
    return document


def _value_json(value: object) -> Attribute:
    if isinstance(value, Scope):
        return list(value.patterns)
    if isinstance(value, tuple):
        return [_struct_json(item) if isinstance(item, Consent) else _value_json(item) for item in value]
    return cast("Attribute", value)


@cache
def _times_of(type_: type[AnyFact | Consent]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the fields that hold an instant, and of those that hold a duration."""
    hints = get_type_hints(type_)
    instants = frozenset(name for name, hint in hints.items() if hint in (Instant, Instant | None))
    return instants, frozenset(name for name, hint in hints.items() if hint in (Duration, Duration | None))


@cache
def _defaults_of(type_: type[AnyFact | Consent]) -> tuple[tuple[str, object], ...]:
    """Return the fields with their defaults; NODEFAULT, which equals nothing, where a field must be given."""
    fields = msgspec.structs.fields(type_)
    return tuple(
        (field.name, field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory())
        for field in fields
        if field.name != "id"
    )
