"""Laws of the chain: no single change goes unseen, and a cut anywhere loses no whole record."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pdp.core.model import Instant
from pdp.evidence.journal.disk import LocalDisk
from pdp.evidence.journal.journal_end import find_end
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import segment_path
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import LifecycleRecord
from pdp.evidence.seals.verifying import Verified, verify
from pdp.evidence.trace import parse_traceparent

RECORDS = 5


def lines() -> list[bytes]:
    """Return the lines of a small journal."""
    made, previous = [], GENESIS
    for number in range(1, RECORDS + 1):
        line, previous = line_of(body_of(LifecycleRecord(name=f"event-{number}", at=Instant(number))), number, previous)
        made.append(line)
    return made


WHOLE = b"".join(lines())


def journal(directory: str, content: bytes) -> Path:
    """Put a journal of one segment into a directory."""
    path = Path(directory)
    segment_path(path, 1).write_bytes(content)
    return path


@given(position=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_found(position: int, bit: int) -> None:
    """Wherever it is, the hash or the chain included, and at that line or the next."""
    content = bytearray(WHOLE)
    content[position] ^= 1 << bit
    with tempfile.TemporaryDirectory() as directory:
        broken = verify(journal(directory, bytes(content)))
    assert isinstance(broken, list)
    assert broken[0].line - WHOLE[:position].count(b"\n") in (1, 2)


@given(order=st.permutations(range(RECORDS)), kept=st.integers(1, RECORDS))
def test_only_an_untouched_beginning_verifies(order: list[int], kept: int) -> None:
    """Any other selection or order of records is found."""
    chosen = order[:kept]
    with tempfile.TemporaryDirectory() as directory:
        verified = verify(journal(directory, b"".join(lines()[number] for number in chosen)))
    # A journal may begin later than at 1: older segments may have been archived. Its name says where.
    assert isinstance(verified, Verified) == (chosen == list(range(kept)))


@given(cut=st.integers(0, len(WHOLE)), garbage=st.binary(max_size=40))
def test_a_cut_anywhere_loses_no_whole_record(cut: int, garbage: bytes) -> None:
    """After repair the journal verifies, has every whole record, and can be gone on with."""
    before = WHOLE[:cut]
    whole = before.count(b"\n") + (1 if WHOLE[cut : cut + 1] == b"\n" and (not garbage or garbage[:1] == b"\n") else 0)
    with tempfile.TemporaryDirectory() as directory:
        path = journal(directory, before + garbage)
        end, _ = find_end(path)
        log = SegmentLog(path, LocalDisk(), 1 << 20, end)
        log.write([body_of(LifecycleRecord(name="next", at=Instant(9)))])
        log.close()
        names = [entry.record()["name"] for entry in read(path)]
        assert names == [*(f"event-{number + 1}" for number in range(whole)), "next"]
        assert isinstance(verify(path), Verified)


@given(st.text(max_size=80))
def test_a_parsed_traceparent_says_what_was_read(text: str) -> None:
    """Whatever is accepted names the ids that stand in the text."""
    trace = parse_traceparent(text)
    assert trace is None or text[3:52] == f"{trace.trace_id}-{trace.span_id}"
