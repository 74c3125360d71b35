"""Messages of the contract as JSON for machines: its names, words in lower case, times and durations as text.

Every member is always there; facts read as everywhere else on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from sessionpdp.v1 import facts_pb2

from pdp.cli.change_view import fact_json
from pdp.cli.facts_read import fact_of_message
from pdp.core.model import Duration, Instant
from pdp.core.wording import SECOND, duration_text, instant_text

_FACTS: Mapping[str, str] = {
    cast("Descriptor", one.message_type).full_name: one.name
    for one in facts_pb2.Fact.DESCRIPTOR.oneofs_by_name["fact"].fields
}
"""Kinds of fact by the names of their messages."""


def message_json(message: Message) -> dict[str, object]:
    """Return a message, each member by its name."""
    return {field.name: _member(message, cast("FieldDescriptor", field)) for field in message.DESCRIPTOR.fields}


def word_of(field: FieldDescriptor, number: int) -> str:
    """Return the word an enum's number stands for: `certification_due`, but `TASK_ENDED`; nothing for none."""
    enum = cast("EnumDescriptor", field.enum_type)
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_number.get(number)
    if known is None:
        return str(number)
    word = known.name.removeprefix(prefix) if number else ""
    return word if enum.name == "ReasonCode" else word.lower()


def _member(message: Message, field: FieldDescriptor) -> object:
    value: Any = getattr(message, field.name)
    if field.is_repeated:
        return [_value(field, one) for one in value]
    if field.message_type is not None and not message.HasField(field.name):
        return None
    return _value(field, value)


def _value(field: FieldDescriptor, value: object) -> object:
    if field.enum_type is not None:
        return word_of(field, cast("int", value))
    return value if field.message_type is None else _of_message(cast("Message", value))


def _of_message(message: Message) -> object:
    if isinstance(message, timestamp_pb2.Timestamp):
        return instant_text(Instant(message.ToNanoseconds()))
    if isinstance(message, duration_pb2.Duration):
        return duration_text(Duration(message.seconds * SECOND + message.nanos))
    if isinstance(message, facts_pb2.Fact):
        return fact_json(fact_of_message(message))
    kind = _FACTS.get(message.DESCRIPTOR.full_name)
    if kind is not None:
        fact = facts_pb2.Fact()
        getattr(fact, kind).CopyFrom(message)
        return fact_json(fact_of_message(fact))
    return message_json(message)
