"""The process that writes the journal of a running sidecar: `python -m pdp.evidence.journal.scribe JOURNAL BYTES`.

Rule 1: it writes what it is sent, a commit at a time, each whole or not at all, and answers each once.
Rule 2: it ends with its sidecar, whatever ended that, and not before it has done what it was sent. It holds the
journal's lock until then, so nobody else writes meanwhile.
Rule 3: it decides nothing: what becomes of records that cannot be written is the sidecar's to say.
Rule 4: what is to be masked is masked here, before it is part of a line.

Why a process: a thread that encodes, chains, writes and syncs takes turns with whoever decides at every one of these
steps, for they share the interpreter's lock, and each turn costs as much as a decision.

Its standard input is one end of a socket. What comes in are frames: eight bytes that say how long the rest is, and a
MessagePack array of the records of one commit, each as `packed_record` has it; the first holds an `Opening`. What goes
out are lines of JSON: `Written`, or `Failed`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import msgspec
from msgspec import Raw, Struct

from pdp.evidence.journal.disk import LocalDisk
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import ChainEnd
from pdp.evidence.line.masking import Masks, masking_of
from pdp.evidence.line.packed_record import body_of_packed, head_of, records_of
from pdp.evidence.line.record_json import Mask

_SIZE_BYTES = 8
_SLICE = 8
"""Records encoded before others have their turn on the processor: a hundred take more than a millisecond."""


class Opening(Struct, frozen=True):
    """Where the journal ends, as far as its sidecar knows."""

    sequence: int
    hash: str
    segment: str
    """Its name; empty: the next record begins one."""
    size: int
    masks: Masks | None
    """What decisions are masked by; None: by nothing."""


class Written(Struct, frozen=True, tag="written"):
    """A commit is on disk; what the journal's end is now."""

    sequence: int
    hash: str
    segment: str
    """Its name; empty: the next record begins one."""
    size: int
    sync_s: float
    """How long it took, in seconds."""
    full: str = ""
    """The segment that is full now; empty: none."""


class Failed(Struct, frozen=True, tag="failed"):
    """Nothing of a commit counts."""

    error: str


Answer: TypeAlias = Written | Failed
decode_answer = msgspec.json.Decoder(Answer).decode
_ENCODE = msgspec.json.Encoder().encode


def frame_of(packed: Sequence[bytes], count: int) -> bytes:
    """Return the frame of a commit of so many records."""
    head = head_of(count)
    size = len(head) + sum(map(len, packed))
    return b"".join((size.to_bytes(_SIZE_BYTES), head, *packed))


def opening_of(end: ChainEnd, masks: Masks | None) -> bytes:
    """Return the frame that says where to go on, and what to mask."""
    segment = "" if end.segment is None else end.segment.name
    return frame_of([msgspec.msgpack.encode(Opening(end.sequence, end.hash, segment, end.size, masks))], 1)


def commit(log: SegmentLog, records: Sequence[Raw], mask: Mask | None) -> Answer:
    """Write, and say what became of it."""
    bodies = list[bytes]()
    for start in range(0, len(records), _SLICE):
        if start:
            os.sched_yield()
        bodies += [body_of_packed(one, mask) for one in records[start : start + _SLICE]]
    started = time.monotonic()
    try:
        full = log.commit(bodies)
    except OSError as error:
        return Failed(str(error))
    except Exception as error:  # noqa: BLE001  # a bug here must not end evidence without a word
        return Failed(f"{type(error).__name__}: {error}")
    end, took = log.synced, time.monotonic() - started
    segment = "" if end.segment is None else end.segment.name
    return Written(end.sequence, end.hash, segment, end.size, took, "" if full is None else full.name)


def _log_of(directory: Path, segment_bytes: int, said: Opening) -> SegmentLog:
    end = ChainEnd(said.sequence, said.hash, directory / said.segment if said.segment else None, said.size)
    # An earlier process of the same sidecar may have written more than it could answer for.
    return SegmentLog(directory, LocalDisk(), segment_bytes, end, astray=True)


def _next_frame(frames: BinaryIO) -> list[Raw] | None:
    """Return the records of the next commit; None: there are no more, or the rest of one will never come."""
    try:
        head = frames.read(_SIZE_BYTES)
        size = int.from_bytes(head)
        said = frames.read(size) if len(head) == _SIZE_BYTES else b""
    except ConnectionResetError:  # a sidecar that was killed before it heard the last answer, so it sent no more
        return None
    return records_of(said) if said and len(said) == size else None


def main() -> None:
    """Write the journal named on the command line, for whoever started this process."""
    # Sent to all of a service they mean the sidecar, whose end this one outlives by what it was sent.
    for ends in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, signal.SIG_IGN)
    directory, segment_bytes = sys.argv[1:]
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as answers, os.fdopen(sys.stdin.fileno(), "rb") as frames:
        opening = _next_frame(frames)
        if opening is None:
            return
        said = msgspec.msgpack.decode(opening[0], type=Opening)
        log = _log_of(Path(directory), int(segment_bytes), said)
        mask = None if said.masks is None else masking_of(said.masks).applied
        while (records := _next_frame(frames)) is not None:
            answer = commit(log, records, mask)
            with suppress(OSError):  # nobody listens any more, but what was sent is written
                answers.sendall(_ENCODE(answer) + b"\n")
        log.close()


if __name__ == "__main__":
    main()
