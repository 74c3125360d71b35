"""Structs and messages that have the same fields by the same names: one conversion by field for all of them.

What a field becomes follows from the struct's annotation, so a new fact or command needs no code here. A field without
a default must be given; one that may be left out takes the struct's own default.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast, get_args

from google.protobuf import duration_pb2, json_format, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields as fields_of

from pdp.core.lawful import fault_of_many
from pdp.core.lawful_request import Fault
from pdp.core.model import Attribute, Instant
from pdp.core.scope import PatternError, Scope
from pdp.core.wording import SECOND
from pdp.doors.wire import attribute_of, duration_of, instant_of, timestamp

Value: TypeAlias = object
"""A field's value in the domain; its type is that of the struct's field."""

_Map: TypeAlias = Any
"""A map field; protobuf's stubs have a type of their own for each."""
_S = TypeVar("_S", bound=Struct)


class _Field(NamedTuple):
    """A field of a struct, as far as the wire needs it."""

    name: str
    required: bool
    scope: type[Scope] | None
    words: type[StrEnum] | None
    item: type[Struct] | None
    """Of a field with many."""


def struct_of(
    message: Message, kind: type[_S], path: str, faults: list[Fault], *, without: Collection[str] = ()
) -> _S | None:
    """Return the struct a message carries, but for some fields; None with at least one fault if it carries none.

    `path` comes before the names of fields in faults: `facts[3].task.`, or nothing.
    """
    found: list[Fault] = []
    named = [field for field in _fields_of(kind) if field.name not in without]
    values = {field.name: _value_of(message, field, path + field.name, found) for field in named}
    faults += found
    return None if found else kind(**{name: value for name, value in values.items() if value is not NODEFAULT})


def fill(message: Message, struct: Struct, *, without: Collection[str] = ()) -> None:
    """Write the fields of a struct, but for some, to a message."""
    for field in _fields_of(type(struct)):
        value = getattr(struct, field.name)
        if value is not None and field.name not in without:
            _fill(message, _descriptor(message, field.name), value)


@cache  # one entry a struct; msgspec evaluates all annotations anew at each call
def _fields_of(kind: type[Struct]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            info.name,
            info.default is NODEFAULT and info.default_factory is NODEFAULT,
            _subclass(Scope, (info.type,)),
            _subclass(StrEnum, (info.type, *get_args(info.type))),
            _subclass(Struct, get_args(info.type)),
        )
        for info in fields_of(kind)
    )


def _subclass(base: type[Any], types: Sequence[object]) -> type[Any] | None:
    return next((one for one in types if isinstance(one, type) and issubclass(one, base)), None)


def _value_of(message: Message, field: _Field, path: str, faults: list[Fault]) -> Value:
    """Return a field's value, or NODEFAULT to leave the struct's own default; a fault if it must be given."""
    descriptor = _descriptor(message, field.name)
    if not _given(message, descriptor):
        if field.required:
            faults.append(Fault(path, "is required"))
        return NODEFAULT
    raw = getattr(message, field.name)
    if field.scope is not None:
        return _scope(field.scope, raw, path, faults)
    if field.words is not None:
        return _word(field.words, descriptor, raw, path, faults)
    if field.item is not None:
        return tuple(struct_of(one, field.item, f"{path}[{number}].", faults) for number, one in enumerate(raw))
    if descriptor.message_type is None:
        return tuple(raw) if descriptor.is_repeated else raw
    return _from_message(raw, path, faults)


def _descriptor(message: Message, name: str) -> FieldDescriptor:
    return cast("FieldDescriptor", message.DESCRIPTOR.fields_by_name[name])


def _given(message: Message, field: FieldDescriptor) -> bool:
    if field.has_presence:
        return bool(message.HasField(field.name))
    return bool(getattr(message, field.name))


def _scope(kind: type[Scope], raw: str | Sequence[str], path: str, faults: list[Fault]) -> Value:
    patterns = [raw] if isinstance(raw, str) else raw
    if fault := fault_of_many(patterns):  # before they are compiled
        faults.append(Fault(path, fault))
        return NODEFAULT
    try:
        return kind(patterns)
    except PatternError as error:
        faults.append(Fault(path, str(error)))
        return NODEFAULT


def _word(words: type[StrEnum], field: FieldDescriptor, number: int, path: str, faults: list[Fault]) -> Value:
    known = _enum(field).values_by_number.get(number)
    if known is None:
        faults.append(Fault(path, f"has the unknown value {number}"))
        return NODEFAULT
    return words(known.name.removeprefix(_prefix(field)).lower())


def _enum(field: FieldDescriptor) -> EnumDescriptor:
    return cast("EnumDescriptor", field.enum_type)


def _prefix(field: FieldDescriptor) -> str:
    """Return `IDENTITY_STATE_` for the enum IdentityState."""
    return str(_enum(field).values_by_number[0].name.removesuffix("UNSPECIFIED"))


def _from_message(raw: object, path: str, faults: list[Fault]) -> Value:
    if isinstance(raw, timestamp_pb2.Timestamp):
        return instant_of(raw, path, faults)
    if isinstance(raw, duration_pb2.Duration):
        return duration_of(raw, path, faults)
    if isinstance(raw, struct_pb2.Value):
        return attribute_of(raw, path, faults)
    members: Mapping[str, str | struct_pb2.ListValue] = raw  # type: ignore[assignment]  # all else is a map
    return {name: _member(value, f"{path}.{name}", faults) for name, value in members.items()}


def _member(value: str | struct_pb2.ListValue, path: str, faults: list[Fault]) -> Value:
    if isinstance(value, str):
        return value
    return [attribute_of(one, path, faults) for one in value.values]


def _fill(message: Message, field: FieldDescriptor, value: Value) -> None:
    if isinstance(value, Scope) and not field.is_repeated:
        setattr(message, field.name, value.patterns[0])
    elif isinstance(value, Scope):
        getattr(message, field.name).extend(value.patterns)
    elif isinstance(value, StrEnum):
        setattr(message, field.name, _enum(field).values_by_name[_prefix(field) + value.upper()].number)
    elif field.message_type is None and isinstance(value, tuple):
        getattr(message, field.name).extend(value)
    elif field.message_type is None:
        setattr(message, field.name, value)
    else:
        _fill_message(getattr(message, field.name), value)


def _fill_message(target: object, value: Value) -> None:
    if isinstance(target, timestamp_pb2.Timestamp) and isinstance(value, int):
        target.CopyFrom(timestamp(Instant(value)))
    elif isinstance(target, duration_pb2.Duration) and isinstance(value, int):
        target.seconds, target.nanos = divmod(value, SECOND)
    elif isinstance(target, struct_pb2.Value):
        _set(target, value)
    elif isinstance(value, tuple):
        for one in value:
            fill(target.add(), one)  # type: ignore[attr-defined]  # repeated messages
    elif isinstance(value, dict):
        _fill_map(target, value)


def _fill_map(target: _Map, members: Mapping[str, str | list[Attribute]]) -> None:
    for name, value in members.items():
        if isinstance(value, str):
            target[name] = value
        else:
            for one in value:
                _set(target[name].values.add(), one)


def _set(target: struct_pb2.Value, value: object) -> None:
    json_format.ParseDict(cast("dict[str, object]", value), target)  # any JSON value is taken for a Value
