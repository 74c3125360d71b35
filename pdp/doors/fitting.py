"""How many of many messages one answer holds: peers take no more than so many bytes, and would refuse all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

MOST_BYTES = 3 * 1024 * 1024
"""Of facts in one answer; peers take 4 MiB unless told otherwise."""
PART_BYTES = MOST_BYTES // 6
"""Of one part of many in an answer."""
_FRAME = 6
"""Bytes around a message inside another, at most."""

_M = TypeVar("_M", bound=Message)


def fits(message: Message, most: int = MOST_BYTES) -> bool:
    """Whether so many bytes hold a message."""
    return message.ByteSize() + _FRAME <= most


def that_fit(messages: Iterable[_M], most: int = MOST_BYTES) -> Iterator[_M]:
    """Yield the first of many messages, as far as so many bytes hold them; the very first in any case."""
    size = 0
    for number, message in enumerate(messages):
        size += message.ByteSize() + _FRAME
        if number and size > most:
            return
        yield message
