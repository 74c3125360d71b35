"""A record as it travels to the process that writes it: MessagePack, for that costs the event loop least.

A decision travels flat and is encoded there, any other record as the body of its line. Attributes are taken for what
they are said to be, JSON under texts; what is not that may be said otherwise than `body_of` would, or not at all.
"""

from __future__ import annotations

import time
from typing import TypeAlias

import msgspec
from msgspec import Raw

from pdp.core.model import Instant
from pdp.evidence.line.flat_decision import FlatDecision, flatten
from pdp.evidence.line.record_json import Mask, body_of, decision_body, plain, unwritable_body
from pdp.evidence.record import AnyRecord, DecisionRecord

_Said: TypeAlias = bytes | FlatDecision

_PACK = msgspec.msgpack.Encoder(enc_hook=plain).encode
_UNPACK = msgspec.msgpack.Decoder(_Said).decode
_ARRAY, _COUNT_BYTES = b"\xdd", 4
"""How an array begins in MessagePack, whatever is in it."""


def pack(record: AnyRecord, mask: Mask | None = None) -> bytes:
    """Return a record as it travels; `mask` is for the decision that only JSON can say, if any can."""
    try:
        return _PACK(flatten(record) if isinstance(record, DecisionRecord) else body_of(record, mask))
    except Exception:  # noqa: BLE001  # a number too large for MessagePack; whatever it is, `body_of` has a way with it
        return _PACK(body_of(record, mask))


def head_of(count: int) -> bytes:
    """Return what stands before so many records, one behind the other, to make an array of them."""
    return _ARRAY + count.to_bytes(_COUNT_BYTES)


records_of = msgspec.msgpack.Decoder(list[Raw]).decode
"""Returns the records of an array, packed."""


def body_of_packed(packed: bytes | Raw, mask: Mask | None = None) -> bytes:
    """Return what a record says, as `body_of` it."""
    try:
        said = _UNPACK(packed)
        return said if isinstance(said, bytes) else decision_body(said, mask)
    except Exception as error:  # noqa: BLE001  # whatever it is, all records behind this one must get to the disk
        return unwritable_body("a record", Instant(time.time_ns()), error)
