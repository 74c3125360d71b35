"""What a gRPC error says beyond its status: the `google.rpc` details in its trailing metadata.

Read by field number, because the generated code of `google.rpc` would be a dependency, and a copy of it would clash
with that of the applications that have one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_METADATA_KEY: Final = "grpc-status-details-bin"
_DETAILS_OF_STATUS: Final = 3
_METADATA_OF_ERROR_INFO: Final = 3
# Both BadRequest and PreconditionFailure are nothing but a list, and their items nothing but texts.
_ITEMS_OF_LIST: Final = 1


@dataclass(frozen=True, slots=True)
class StatusDetails:
    """What is read of `ErrorInfo`, `PreconditionFailure` and `BadRequest`; empty where the error says nothing."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, ...], ...] = ()
    """Type, subject and description of each."""
    faults: tuple[tuple[str, ...], ...] = ()
    """Field and description of each."""

    @classmethod
    def of(cls, metadata: Iterable[tuple[str, str | bytes]] | None) -> Self:
        """Read trailing metadata; what cannot be read is left out, because the status alone says enough."""
        for key, value in metadata or ():
            if key == _METADATA_KEY and isinstance(value, bytes):
                try:
                    return cls._of_status(value)
                except DecodeError:
                    break
        return cls()

    @classmethod
    def _of_status(cls, status: bytes) -> Self:
        details: dict[str, bytes] = {}
        for packed in _repeated(status, _DETAILS_OF_STATUS):
            detail = any_pb2.Any.FromString(packed)
            details[detail.TypeName()] = detail.value
        info = details.get("google.rpc.ErrorInfo", b"")
        entries = [_texts(entry, 2) for entry in _repeated(info, _METADATA_OF_ERROR_INFO)]
        violations = _repeated(details.get("google.rpc.PreconditionFailure", b""), _ITEMS_OF_LIST)
        faults = _repeated(details.get("google.rpc.BadRequest", b""), _ITEMS_OF_LIST)
        return cls(
            reason=_texts(info, 1)[0],
            metadata={entry[0]: entry[1] for entry in entries},
            violations=tuple(_texts(violation, 3) for violation in violations),
            faults=tuple(_texts(fault, 2) for fault in faults),
        )


def _texts(message: bytes, count: int) -> tuple[str, ...]:
    """Return the texts of a message's first fields, empty where there is none."""
    texts = [""] * count
    for number, value in _fields(message):
        if number <= count:
            texts[number - 1] = value.decode(errors="replace")
    return tuple(texts)


def _repeated(message: bytes, number: int) -> list[bytes]:
    return [value for found, value in _fields(message) if found == number]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and value of each field that is text, bytes or a message."""
    unknown = UnknownFieldSet(empty_pb2.Empty.FromString(message))
    for index in range(len(unknown)):
        value = unknown[index].data
        if isinstance(value, bytes):
            yield unknown[index].field_number, value
