"""Facts between the wire and the domain.

The messages of `facts.proto` and the structs of `core.model` have the same fields by the same names, so one
conversion by field serves all kinds; `tests/unit/test_facts_wire.py` holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import TypeAlias, cast

from google.protobuf import duration_pb2, json_format, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import NODEFAULT
from msgspec.structs import FieldInfo
from msgspec.structs import fields as fields_of
from sessionpdp.v1 import facts_pb2 as pb

from pdp.core import model
from pdp.core.lawful import faults_of
from pdp.core.lawful_request import Fault
from pdp.core.model import KIND_OF, TYPE_OF, AnyFact, Attribute, FactKind
from pdp.core.scope import ActionScope, IdentityScope, PatternError, ResourceScope, Scope
from pdp.core.wording import SECOND
from pdp.doors.wire import attribute_of, duration_of, instant_of, timestamp

_STAMPED = frozenset({"revision", "traceparent"})
"""Fields that the store writes."""
_SCOPES: Mapping[tuple[str, str], type[Scope]] = {
    ("Entitlement", "identity"): IdentityScope,
    ("Entitlement", "actions"): ActionScope,
    ("Entitlement", "resources"): ResourceScope,
    ("Approval", "actions"): ActionScope,
    ("Approval", "resources"): ResourceScope,
    ("Session", "actions"): ActionScope,
    ("Session", "resources"): ResourceScope,
}

Value: TypeAlias = object
"""A field's value in the domain; its type is that of the struct's field."""


def fact_of(message: pb.Fact, path: str, faults: list[Fault]) -> AnyFact | None:
    """Return the fact a message carries; None with at least one fault if it carries none that is lawful."""
    which = message.WhichOneof("fact")
    if which is None:
        faults.append(Fault(path, "carries no fact"))
        return None
    inner: Message = getattr(message, which)
    path = f"{path}.{which}"
    kind = TYPE_OF[FactKind(which)]
    make: Callable[..., AnyFact] = kind
    found: list[Fault] = []
    values = {info.name: _value_of(inner, info, f"{path}.{info.name}", found) for info in _fields_of(kind)}
    if found:
        faults += found
        return None
    fact = make(**{name: value for name, value in values.items() if value is not NODEFAULT})
    unlawful = [Fault(f"{path}.{field}", text) for field, text in faults_of(fact)]
    faults += unlawful
    return None if unlawful else fact


def message_of(fact: AnyFact) -> pb.Fact:
    """Return the wire form of a fact."""
    message = pb.Fact(revision=fact.revision)
    inner: Message = getattr(message, KIND_OF[type(fact)])
    inner.SetInParent()
    for info in _fields_of(type(fact)):
        value = getattr(fact, info.name)
        if value is not None:
            _fill(inner, _field(inner, info.name), value)
    return message


@cache  # one entry a kind of fact; msgspec evaluates all annotations anew at each call
def _fields_of(kind: type[AnyFact]) -> tuple[FieldInfo, ...]:
    """Return the fields that a message carries: all but those the store writes."""
    return tuple(info for info in fields_of(kind) if info.name not in _STAMPED)


def _value_of(message: Message, info: FieldInfo, path: str, faults: list[Fault]) -> Value:
    """Return a field's value, or NODEFAULT to leave the struct's own default; a fault if it must be given."""
    field = _field(message, info.name)
    if not _given(message, field):
        if info.default is NODEFAULT and info.default_factory is NODEFAULT:
            faults.append(Fault(path, "is required"))
        return NODEFAULT
    raw = getattr(message, info.name)
    scope = _SCOPES.get((message.DESCRIPTOR.name, info.name))
    if scope is not None:
        return _scope(scope, raw, path, faults)
    if field.enum_type is not None:
        return _word(field, raw, path, faults)
    if field.message_type is None:
        return raw
    return _from_message(field, raw, path, faults)


def _field(message: Message, name: str) -> FieldDescriptor:
    return cast("FieldDescriptor", message.DESCRIPTOR.fields_by_name[name])


def _words(field: FieldDescriptor) -> EnumDescriptor:
    return cast("EnumDescriptor", field.enum_type)


def _given(message: Message, field: FieldDescriptor) -> bool:
    if field.has_presence:
        return bool(message.HasField(field.name))
    return bool(getattr(message, field.name))


def _scope(kind: type[Scope], raw: str | Sequence[str], path: str, faults: list[Fault]) -> Value:
    try:
        return kind([raw] if isinstance(raw, str) else raw)
    except PatternError as error:
        faults.append(Fault(path, str(error)))
        return NODEFAULT


def _word(field: FieldDescriptor, number: int, path: str, faults: list[Fault]) -> Value:
    words: type[StrEnum] = getattr(model, _words(field).name)
    known = _words(field).values_by_number.get(number)
    if known is None:
        faults.append(Fault(path, f"has the unknown value {number}"))
        return NODEFAULT
    return words(known.name.removeprefix(_prefix(field)).lower())


def _prefix(field: FieldDescriptor) -> str:
    """Return `IDENTITY_STATE_` for the enum IdentityState."""
    return str(_words(field).values_by_number[0].name.removesuffix("UNSPECIFIED"))


def _from_message(field: FieldDescriptor, raw: Message, path: str, faults: list[Fault]) -> Value:
    if isinstance(raw, timestamp_pb2.Timestamp):
        return instant_of(raw, path, faults)
    if isinstance(raw, duration_pb2.Duration):
        return duration_of(raw, path, faults)
    if isinstance(raw, struct_pb2.Value):
        return attribute_of(raw, path, faults)
    if field.name == "constraints":
        members: Mapping[str, struct_pb2.ListValue] = raw  # type: ignore[assignment]  # a map field
        return {
            name: [attribute_of(value, f"{path}.{name}", faults) for value in allowed.values]
            for name, allowed in members.items()
        }
    return dict(raw)  # type: ignore[call-overload]  # the only other map field is labels


def _fill(message: Message, field: FieldDescriptor, value: Value) -> None:
    if isinstance(value, Scope):
        patterns = value.patterns
        if field.name == "identity":
            setattr(message, field.name, patterns[0])
        else:
            getattr(message, field.name).extend(patterns)
    elif isinstance(value, StrEnum):
        setattr(message, field.name, _words(field).values_by_name[_prefix(field) + value.upper()].number)
    elif field.message_type is None:
        setattr(message, field.name, value)
    else:
        _fill_message(message, field, value)


def _fill_message(message: Message, field: FieldDescriptor, value: Value) -> None:
    target = getattr(message, field.name)
    if isinstance(target, timestamp_pb2.Timestamp) and isinstance(value, int):
        target.CopyFrom(timestamp(model.Instant(value)))
    elif isinstance(target, duration_pb2.Duration) and isinstance(value, int):
        target.seconds, target.nanos = divmod(value, SECOND)
    elif isinstance(target, struct_pb2.Value):
        _set(target, value)
    elif field.name == "constraints" and isinstance(value, dict):
        for name, allowed in value.items():
            _extend(target[name], allowed)
    elif isinstance(value, dict):
        target.update(value)


def _extend(target: struct_pb2.ListValue, values: Sequence[Attribute]) -> None:
    for value in values:
        _set(target.values.add(), value)


def _set(target: struct_pb2.Value, value: object) -> None:
    json_format.ParseDict(cast("dict[str, object]", value), target)  # any JSON value is taken for a Value
