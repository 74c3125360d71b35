"""Which field of a message that cannot be decoded is at fault.

Only reached once decoding has failed: walks the wire format along the message's descriptor to the first text that is
not UTF-8, or to where the bytes end in the middle of a field. Never raises; memory and time are linear in the message.
"""

from __future__ import annotations

from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from pdp.core.lawful_request import Fault

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 100
_WHOLE = Fault("request", "is not a valid message")


class _TruncatedError(ValueError):
    """The bytes end too early."""


def fault_in(data: bytes, kind: type[Message]) -> Fault:
    """Return the field at fault, by its path, and what is wrong with it."""
    try:
        return _fault(memoryview(data), cast("Descriptor", kind.DESCRIPTOR), "", 0) or _WHOLE
    except _TruncatedError:
        return _WHOLE


def _fault(data: memoryview, descriptor: Descriptor, path: str, depth: int) -> Fault | None:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        field = descriptor.fields_by_number.get(key >> 3)
        name = f"{path}{field.name}" if field is not None else path
        wire_type = key & 7
        if wire_type != _LENGTH:
            position = _skip(data, position, wire_type)
            continue
        length, position = _varint(data, position)
        if position + length > len(data):
            return Fault(name or "request", "is truncated")
        fault = _fault_of_bytes(data[position : position + length], field, name, depth)
        if fault is not None:
            return fault
        position += length
    return None


def _fault_of_bytes(data: memoryview, field: FieldDescriptor | None, name: str, depth: int) -> Fault | None:
    if field is None:
        return None
    if field.type == FieldDescriptor.TYPE_STRING:
        try:
            str(data, "utf-8")
        except UnicodeDecodeError:
            return Fault(name, "is not valid UTF-8")
    elif field.message_type is not None:
        if depth == _DEEPEST:
            return Fault(name, f"is nested more than {_DEEPEST} levels deep")
        return _fault(data, field.message_type, f"{name}.", depth + 1)
    return None


def _skip(data: memoryview, position: int, wire_type: int) -> int:
    if wire_type == _VARINT:
        return _varint(data, position)[1]
    if wire_type in (_FIXED64, _FIXED32):
        return position + (8 if wire_type == _FIXED64 else 4)
    raise _TruncatedError


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:  # noqa: PLR2004  # ten bytes of seven bits
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last byte has no high bit
            return value, position
        shift += 7
    raise _TruncatedError
