"""Attributes as the messages of the protocol have them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

_MOST_SHORT = 64
"""Characters of a text that may come again; longer ones are not kept."""


def pairs(attributes: Mapping[str, object]) -> list[KeyValue]:
    """Return attributes; they may be shared, so that nobody may change them."""
    return [_known(name, value) if _is_short(value) else _pair(name, value) for name, value in attributes.items()]


def resource_of(attributes: Mapping[str, object]) -> Resource:
    """Return who sends something."""
    return Resource(attributes=pairs(attributes))


def _is_short(value: object) -> bool:
    return type(value) is str and len(value) <= _MOST_SHORT


def _pair(name: str, value: object) -> KeyValue:
    return KeyValue(key=name, value=_value(value))


@lru_cache(
    maxsize=4096
)  # most of what is told of a decision was told of another: 2 us each, some twenty times a record
def _known(name: str, value: str) -> KeyValue:
    return _pair(name, value)


def _value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, tuple | list):
        return AnyValue(array_value=ArrayValue(values=[_value(item) for item in value]))
    return AnyValue(string_value=str(value))
