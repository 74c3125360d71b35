"""The outbox: what must arrive is never given up, memory is bounded, and the cursor is never ahead of the truth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from pdp.core.decide import refuse
from pdp.core.model import Instant, Request
from pdp.core.reasons import Code
from pdp.core.snapshot import Snapshot
from pdp.evidence.journal.disk import LocalDisk
from pdp.evidence.journal.journal_end import find_end
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    AnyRecord,
    DecisionRecord,
    LifecycleRecord,
)
from pdp.evidence.telemetry.due import Due
from pdp.evidence.telemetry.export_cursor import FILE, read_cursor, write_cursor
from pdp.evidence.telemetry.outbox import Outbox, Portion
from pdp.evidence.trace import TraceContext
from tests.unit.test_evidence_spans import record

NOW = Instant(1_772_355_600_000_000_000)
MOST = 4


def denial(name: str) -> DecisionRecord:
    """Return the record of a deny, which must arrive."""
    return DecisionRecord(
        decision_id=name, trace=TraceContext("a" * 32, "b" * 16), method="Check", request=Request("a", "b", "c:d"),
        decision=refuse(Code.STATE_STALE, "no news", Snapshot(), NOW), started_at=NOW, ended_at=NOW,
    )  # fmt: skip


def allow(name: str, *, sampled: bool = True) -> DecisionRecord:
    """Return the record of a routine allow, which may be lost."""
    return replace(record(trace=TraceContext("a" * 32, "b" * 16, sampled=sampled)), decision_id=name)


class Process:
    """One life of a journal's writer with an outbox; the next one begins where this one was left, as after a kill."""

    def __init__(self, directory: Path, *, logs: bool = False, segment_bytes: int = 1 << 20) -> None:
        self.outbox = Outbox(Due(logs), most=MOST)
        end, _ = find_end(directory)
        self._log = SegmentLog(directory, LocalDisk(), segment_bytes, end)
        self.outbox.resume(directory)
        self.outbox.counted(end.sequence)

    def write(self, *records: AnyRecord) -> None:
        """Bring records to the disk, each followed by a sync, as the writer does."""
        for one in records:
            self._log.write([body_of(one)])
            self._log.sync()
            self.outbox.offer([one])
            self.outbox.counted(self._log.synced.sequence)
            self._log.rotate()

    def export(self, most: int = 100) -> list[str]:
        """Take and acknowledge all there is; return the names."""
        names = []
        while (portion := self.outbox.take(most)) is not None:
            names += names_of(portion)
            self.outbox.acknowledge(portion)
        return names


def names_of(portion: Portion | None) -> list[str]:
    """Return the decisions of a portion."""
    items = () if portion is None else portion.items
    return [msgspec.json.decode(item)["decision_id"] if isinstance(item, bytes) else _name(item) for item in items]


def _name(item: AnyRecord) -> str:
    return item.decision_id if isinstance(item, DecisionRecord) else type(item).__name__


def test_what_is_offered_is_taken_in_order_and_moves_the_cursor(tmp_path: Path) -> None:
    """Behind the last of it, and what is not due with it."""
    process = Process(tmp_path)
    process.write(denial("1"), allow("2"), allow("unsampled", sampled=False), denial("3"))
    process.write(LifecycleRecord(name="started", at=NOW))
    assert process.export() == ["1", "2", "3"]
    process.outbox.save()
    assert (read_cursor(tmp_path), process.outbox.behind) == (5, 0)


def test_the_cursor_waits_for_what_is_not_acknowledged(tmp_path: Path) -> None:
    """And so does the next process: it begins there."""
    process = Process(tmp_path)
    process.write(denial("1"), denial("2"), denial("3"))
    first = process.outbox.take(1)
    assert first is not None
    process.outbox.acknowledge(first)
    process.outbox.take(1)
    process.outbox.save()
    assert (read_cursor(tmp_path), process.outbox.behind) == (1, 2)
    assert Process(tmp_path).export() == ["2", "3"]


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_what_memory_had_no_room_for_is_read_from_the_journal(tmp_path: Path, most: int, segment_bytes: int) -> None:
    """Each of it at least once, in order, over all segments; then it goes on from memory."""
    process = Process(tmp_path, segment_bytes=segment_bytes)
    names = [str(number) for number in range(20)]
    process.write(*(denial(name) for name in names))
    exported = process.export(most)
    assert list(dict.fromkeys(exported)) == names
    assert len(exported) <= len(names) + 1
    process.write(denial("more"))
    assert process.export(most) == ["more"]
    assert (process.outbox.lost, process.outbox.behind) == (0, 0)


def test_it_overflows_again_while_it_is_read_back(tmp_path: Path) -> None:
    """The gap grows, and nothing in it is left out."""
    process = Process(tmp_path)
    process.write(*(denial(str(number)) for number in range(10)))
    exported = []
    for number in range(10, 40):
        portion = process.outbox.take(1)
        exported += names_of(portion)
        process.write(denial(str(number)), allow(f"{number}", sampled=False))
        if portion is not None:
            process.outbox.acknowledge(portion)
    exported += process.export()
    assert list(dict.fromkeys(exported)) == [str(number) for number in range(40)]


def test_memory_is_bounded_however_long_the_collector_is_away(tmp_path: Path) -> None:
    """Records and marks alike."""
    process = Process(tmp_path)
    process.outbox.take(1)
    process.write(*(one for number in range(100) for one in (denial(f"d{number}"), allow(f"a{number}"))))
    assert (len(process.outbox._backlog), len(process.outbox._marks) <= MOST + 1) == (MOST, True)


def test_routine_allows_give_way_are_counted_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The latest are kept."""
    process = Process(tmp_path)
    process.write(*(allow(str(number)) for number in range(10)))
    assert (process.export(), process.outbox.lost) == (["6", "7", "8", "9"], 6)
    assert sum("telemetry is lost" in message for message in caplog.messages) == 1
    process.write(*(allow(str(number)) for number in range(10)))
    assert sum("telemetry is lost" in message for message in caplog.messages) == 2


def test_records_that_the_disk_cannot_take_yet_are_exported_and_keep_the_cursor_back(tmp_path: Path) -> None:
    """Telemetry goes on while the disk is down; once it is back they are behind the cursor."""
    process = Process(tmp_path)
    process.outbox.offer([denial("1")])
    assert (process.export(), process.outbox.behind) == (["1"], 0)
    process.outbox.save()
    assert read_cursor(tmp_path) == 0
    process.outbox.counted(1)
    assert process.outbox.take(1) is None
    process.outbox.save()
    assert read_cursor(tmp_path) == 1


def test_what_gave_way_before_it_was_on_disk_waits_for_the_disk(tmp_path: Path) -> None:
    """There is no mark behind it yet."""
    process = Process(tmp_path)
    held = [denial(str(number)) for number in range(MOST + 2)]
    process.outbox.offer(held)
    assert process.outbox.take(10) is None
    process._log.write(map(body_of, held))
    process._log.sync()
    process.outbox.counted(len(held))
    assert list(dict.fromkeys(process.export())) == [str(number) for number in range(MOST + 2)]


def test_a_first_start_with_an_old_journal_begins_at_its_end(tmp_path: Path) -> None:
    """And says so on the disk at once, so that a crash right after loses nothing."""
    Process(tmp_path).write(denial("old"))
    (tmp_path / FILE).unlink()
    process = Process(tmp_path)
    assert (process.export(), read_cursor(tmp_path)) == ([], 1)
    process.write(denial("new"))
    assert Process(tmp_path).export() == ["new"]


def test_a_cursor_beyond_the_journal_goes_back_to_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is of another journal, which is said."""
    write_cursor(tmp_path, 99)
    process = Process(tmp_path)
    process.write(denial("1"))
    assert process.export() == ["1"]
    assert "another journal" in caplog.text


@pytest.mark.parametrize("content", ["", "x", "-1", "1.5", "²", pytest.param("9" * 5000, id="long")])
def test_a_damaged_cursor_means_that_all_is_exported_again(tmp_path: Path, content: str) -> None:
    """Twice is better than never."""
    Process(tmp_path).write(denial("1"))
    (tmp_path / FILE).write_text(content)
    assert Process(tmp_path).export() == ["1"]


def test_records_that_are_gone_from_the_journal_are_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Retention that does not wait for the exporter may have removed them."""
    Process(tmp_path, segment_bytes=1).write(denial("1"), denial("2"), denial("3"))
    segments_of(tmp_path)[0].unlink()
    process = Process(tmp_path, segment_bytes=1)
    assert (process.export(), process.outbox.lost) == (["2", "3"], 1)
    assert "records 1 to 1 are gone" in caplog.text


def test_an_end_that_is_gone_does_not_stop_the_rest(tmp_path: Path) -> None:
    """The export goes on behind it."""
    process = Process(tmp_path)
    process.write(*(denial(str(number)) for number in range(MOST + 1)))
    for segment in segments_of(tmp_path):
        segment.write_bytes(b"")
    assert process.export() == [str(number) for number in range(1, MOST + 1)]
    assert process.outbox.lost >= 1


def test_a_cursor_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And written later."""
    process = Process(tmp_path)
    process.write(denial("1"))
    process.export()
    aside = tmp_path / f"{FILE}.new"
    aside.mkdir()
    with caplog.at_level(logging.WARNING):
        process.outbox.save()
        process.outbox.save()
    aside.rmdir()
    process.outbox.save()
    assert (len(caplog.messages), read_cursor(tmp_path)) == (1, 1)


def test_at_the_end_only_routine_allows_are_lost(tmp_path: Path) -> None:
    """The rest is for the next start."""
    process = Process(tmp_path)
    process.write(denial("1"), allow("2"), allow("3"), denial("4"))
    portion = process.outbox.take(2)
    process.outbox.give_up(portion)
    assert process.outbox.lost == 2
    assert Process(tmp_path).export() == ["1", "4"]


def test_with_logs_every_decision_and_every_administrative_call_is_due(tmp_path: Path) -> None:
    """Calls must arrive, so they are read back too; routine allows need not."""
    call = AdministrationRecord(at=NOW, method="Revoke", outcome=AdministrationOutcome.NOT_PERMITTED)
    records: Sequence[AnyRecord] = (allow("unsampled", sampled=False), call, LifecycleRecord(name="x", at=NOW))
    process = Process(tmp_path, logs=True)
    process.write(*records)
    portion = Process(tmp_path, logs=True).outbox.take(10)
    assert portion is not None
    assert [msgspec.json.decode(line)["kind"] for line in portion.items if isinstance(line, bytes)] == [
        "administration"
    ]
    assert process.export() == ["unsampled", "AdministrationRecord"]
