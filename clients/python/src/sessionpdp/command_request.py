"""A command or query as a message: the one place that turns its Python values into the contract's.

Rule: a field that cannot be sent exactly as it was given is refused by name, never rounded, dropped or guessed: an
instant without a time zone, a word that is none, and an empty scope, which in the contract means "as it is".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import Message

from sessionpdp.refusals import InvalidCommand
from sessionpdp.request import InvalidCheck, fill_value
from sessionpdp.v1 import governance_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

MessageT = TypeVar("MessageT", bound=Message)

_SCOPES: Final = frozenset({"actions", "resources"})


def command_request(command: str, fields: Mapping[str, object]) -> Message:
    """Return the message of a command by its name in the contract; refuse as `filled` does."""
    return filled(cast("type[Message]", getattr(governance_pb2, f"{command}Request")), fields)


def filled(kind: type[MessageT], fields: Mapping[str, object]) -> MessageT:
    """Return a message of the fields that are not None.

    Raises `InvalidCommand` that names the first bad field, `TypeError` for a name that is no field.
    """
    message = kind()
    for name, value in fields.items():
        descriptor = kind.DESCRIPTOR.fields_by_name.get(name)
        if descriptor is None:
            msg = f"`{name}` is no field of {kind.DESCRIPTOR.name.removesuffix('Request')}"
            raise TypeError(msg)
        if value is not None:
            _set(message, cast("FieldDescriptor", descriptor), value)
    return message


def word_number(enum: EnumDescriptor, word: object, field: str) -> int:
    """Return the number of a word such as `ai_agent`; raise `InvalidCommand` for an unknown one."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    words = {value.name.removeprefix(prefix).lower(): value.number for value in enum.values if value.number}
    if isinstance(word, str) and word in words:
        return words[word]
    raise InvalidCommand.of(field, f"must be one of {', '.join(words)}, got `{word}`")


def number_word(enum: EnumDescriptor, number: int) -> str:
    """Return the word of a number; empty for none, and for one that this client does not know."""
    value = enum.values_by_number.get(number)
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return "" if value is None or not number else value.name.removeprefix(prefix).lower()


def _set(message: Message, field: FieldDescriptor, value: object) -> None:
    try:
        _assign(message, field, value)
    except InvalidCommand:
        raise
    except InvalidCheck as error:
        raise InvalidCommand(str(error)) from error
    except (TypeError, ValueError) as error:
        raise InvalidCommand.of(field.name, f"cannot be sent: {type(value).__name__} `{value}`") from error


def _assign(message: Message, field: FieldDescriptor, value: object) -> None:
    name, kind = field.name, field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        _set_entries(getattr(message, name), kind.fields_by_name["value"], value, name)
    elif field.is_repeated:
        getattr(message, name).extend(_items(value, name))
    elif kind is not None:
        getattr(message, name).CopyFrom(_CONVERSIONS[kind.full_name](value, name))
    elif field.enum_type is None:
        setattr(message, name, value)
    elif value != "":  # empty: not asked for, as in the other texts
        setattr(message, name, word_number(field.enum_type, value, name))


def _items(value: object, field: str) -> Sequence[object]:
    # A text is a sequence of its letters, which nobody means.
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidCommand.of(field, f"must be a sequence, got {type(value).__name__}")
    items = list(value)
    if not items and field in _SCOPES:
        raise InvalidCommand.of(field, "is empty: leave it out, or name a pattern")
    return items


def _set_entries(entries: MutableMapping[str, Any], kind: FieldDescriptor, value: object, field: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidCommand.of(field, f"must be a mapping, got {type(value).__name__}")
    for key, given in value.items():
        if kind.message_type is None:
            entries[key] = given
            continue
        values = entries[key].values  # of a google.protobuf.ListValue, made by looking
        for index, item in enumerate(_items(given, f"{field}.{key}")):
            fill_value(values.add(), item, f"{field}.{key}[{index}]")


def _timestamp(value: object, field: str) -> timestamp_pb2.Timestamp:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidCommand.of(field, "must be a datetime with a time zone")
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(value)
    return timestamp


def _duration(value: object, field: str) -> duration_pb2.Duration:
    if not isinstance(value, timedelta):
        raise InvalidCommand.of(field, f"must be a timedelta, got {type(value).__name__}")
    duration = duration_pb2.Duration()
    duration.FromTimedelta(value)
    return duration


_CONVERSIONS: Final[Mapping[str, Callable[[object, str], Message]]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
}
