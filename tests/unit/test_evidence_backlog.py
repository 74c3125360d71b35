"""The backlog: what must arrive is never given up, the rest is counted once, the cursor is never ahead of the truth."""

from __future__ import annotations

import logging
from pathlib import Path

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
from pdp.evidence.line.record_json import DecisionJson, Document, body_of
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    AnyRecord,
    DecisionRecord,
    LifecycleRecord,
)
from pdp.evidence.telemetry import backlog as backlogs
from pdp.evidence.telemetry.backlog import Backlog, Portion, Progress
from pdp.evidence.telemetry.due import Due
from pdp.evidence.telemetry.export_cursor import FILE, begin, read_cursor, write_cursor
from pdp.evidence.trace import TraceContext
from pdp.evidence.trouble import JournalDamagedError
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


class Writing:
    """A journal that is written to."""

    def __init__(self, directory: Path, *, segment_bytes: int = 1 << 20) -> None:
        end, _ = find_end(directory)
        self._log = SegmentLog(directory, LocalDisk(), segment_bytes, end)

    @property
    def end(self) -> int:
        """The last record that is on disk."""
        return self._log.synced.sequence

    def write(self, *records: AnyRecord) -> None:
        """Bring records to the disk."""
        for one in records:
            self._log.write([body_of(one)])
            self._log.sync()
            self._log.rotate()


class Process(Writing):
    """One life of a sidecar with an export; the next one begins where this one was left, as after a kill."""

    def __init__(
        self, directory: Path, *, logs: bool = False, segment_bytes: int = 1 << 20, progress: Progress | None = None
    ) -> None:
        super().__init__(directory, segment_bytes=segment_bytes)
        self.backlog = Backlog(directory, Due(logs), progress or Progress(begin(directory, self.end)), most=MOST)

    @property
    def lost(self) -> int:
        """Records that will never be exported."""
        return self.backlog.progress.lost

    def take(self, most: int = 100) -> Portion | None:
        """Take what is due next."""
        return self.backlog.take(self.end, most)

    def export(self, most: int = 100) -> list[str]:
        """Take and acknowledge all there is; return the names."""
        names = []
        while (portion := self.take(most)) is not None:
            names += names_of(portion)
            self.backlog.acknowledge(portion)
        return names


def names_of(portion: Portion | None) -> list[str]:
    """Return the decisions of a portion."""
    return [] if portion is None else list(map(_name, portion.told))


def _name(told: Document) -> str:
    return told.decision_id if isinstance(told, DecisionJson) else told.kind


def test_what_is_on_disk_is_taken_in_order_and_moves_the_cursor(tmp_path: Path) -> None:
    """Behind the last of it, and what is not due with it."""
    process = Process(tmp_path)
    process.write(denial("1"), allow("2"), allow("unsampled", sampled=False), denial("3"))
    process.write(LifecycleRecord(name="started", at=NOW))
    assert process.export() == ["1", "2", "3"]
    process.backlog.save()
    assert (read_cursor(tmp_path), process.backlog.progress.cursor) == (5, 5)


def test_the_cursor_waits_for_what_is_not_acknowledged(tmp_path: Path) -> None:
    """And so does the next process: it begins there."""
    process = Process(tmp_path)
    process.write(denial("1"), denial("2"), denial("3"))
    first = process.take(1)
    assert first is not None
    process.backlog.acknowledge(first)
    process.take(1)
    process.backlog.save()
    assert read_cursor(tmp_path) == 1
    assert Process(tmp_path).export() == ["2", "3"]


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_what_must_arrive_is_read_however_far_behind_it_is(tmp_path: Path, most: int, segment_bytes: int) -> None:
    """In order, once, over all segments."""
    process = Process(tmp_path, segment_bytes=segment_bytes)
    names = [str(number) for number in range(20)]
    process.write(*map(denial, names))
    assert process.export(most) == names
    process.write(denial("more"))
    assert (process.export(most), process.lost) == (["more"], 0)


def test_nothing_is_read_that_is_not_said_to_be_on_disk(tmp_path: Path) -> None:
    """Though it stands in the file: it may never come to count, and something else be written in its place."""
    process = Process(tmp_path)
    process.write(denial("1"), denial("2"))
    portion = process.backlog.take(1, 100)
    assert (names_of(portion), process.backlog.take(1, 100)) == (["1"], None)
    (segment,) = segments_of(tmp_path)
    first, _ = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(first)
    again = Writing(tmp_path)
    again.write(denial("another, which is longer than what stood there before"))
    assert names_of(process.backlog.take(2, 100)) == ["another, which is longer than what stood there before"]


def test_a_portion_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line may be long."""
    monkeypatch.setattr(backlogs, "_BYTES_AT_ONCE", 1)
    process = Process(tmp_path)
    process.write(denial("1"), denial("2"))
    assert (names_of(process.take()), names_of(process.take())) == (["1"], ["2"])


def test_a_portion_is_bounded_in_the_records_that_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands before the cursor in its segment is none of them, nor gone is what comes behind."""
    monkeypatch.setattr(backlogs, "_LOOKED_AT_AT_ONCE", 2)
    process = Process(tmp_path)
    process.write(*(allow("unsampled", sampled=False) for _ in range(5)), denial("1"))
    again = Process(tmp_path, progress=Progress(5))
    portions = [process.take() for _ in range(3)]
    assert [(portion.up_to, names_of(portion)) for portion in portions if portion] == [(2, []), (4, []), (6, ["1"])]
    assert (again.export(), again.lost) == (["1"], 0)


def test_routine_allows_that_are_too_far_behind_are_counted_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The latest are exported."""
    process = Process(tmp_path)
    process.write(*(allow(str(number)) for number in range(10)))
    assert (process.export(2), process.lost) == (["6", "7", "8", "9"], 6)
    assert sum("telemetry is lost" in message for message in caplog.messages) == 1
    process.write(allow("more"))
    process.export()
    process.write(*(allow(str(number)) for number in range(10)))
    process.export()
    assert sum("telemetry is lost" in message for message in caplog.messages) == 2


def test_what_is_given_up_is_counted_while_nothing_can_be_exported(tmp_path: Path) -> None:
    """And not again when it is passed; what was taken before arrives."""
    process = Process(tmp_path)
    process.write(allow("taken"), denial("too"))
    portion = process.take()
    for _ in range(2):
        process.write(*(allow(str(number)) for number in range(5)), denial("denied"))
        process.backlog.give_up(process.end)
    lost = process.lost
    assert portion is not None
    process.backlog.acknowledge(portion)
    assert (names_of(portion), process.export()) == (["taken", "too"], ["denied", "2", "3", "4", "denied"])
    assert (lost, process.lost) == (7, 7)


def test_what_was_given_up_is_not_counted_again_by_the_next_process(tmp_path: Path) -> None:
    """It is told how far the last one was."""
    first = Process(tmp_path)
    first.write(allow("taken"), denial("too"))
    first.take()
    first.write(*(allow(str(number)) for number in range(10)))
    first.backlog.give_up(first.end)
    second = Process(tmp_path, progress=first.backlog.progress)
    assert second.export() == ["too", "6", "7", "8", "9"]
    assert first.lost + second.lost == 7


def test_what_was_given_up_is_counted_once_over_two_outages_and_a_kill(tmp_path: Path) -> None:
    """The second outage begins with a portion that lies behind what was given up in the first."""
    first, names = Process(tmp_path), [str(number) for number in range(30)]
    first.write(denial("d"))
    taken = first.take()
    first.write(*map(allow, names[:10]))
    first.backlog.give_up(first.end)
    assert taken is not None
    first.backlog.acknowledge(taken)
    first.take()
    first.write(*map(allow, names[10:]))
    first.backlog.give_up(first.end)
    second = Process(tmp_path, progress=first.backlog.progress)
    exported = second.export()
    assert (exported, len(exported) + first.lost + second.lost) == (names[-4:], len(names))


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
    assert (process.export(), process.lost) == (["2", "3"], 1)
    assert "records 1 to 1 are gone" in caplog.text


def test_an_end_that_is_gone_does_not_stop_the_rest(tmp_path: Path) -> None:
    """The export goes on behind it."""
    process = Process(tmp_path)
    process.write(*(denial(str(number)) for number in range(MOST)))
    for segment in segments_of(tmp_path):
        segment.write_bytes(b"")
    assert (process.export(), process.lost) == ([], MOST)
    process.write(denial("more"))
    process.write(denial("and more"))
    assert process.export()[-1] == "and more"


def test_a_line_that_is_no_record_is_passed_when_that_does_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes before it is exported at once, what stands behind it in the end; it counts as gone."""
    monkeypatch.setattr(backlogs, "_MOST_TRIES", 3)
    process = Process(tmp_path)
    process.write(denial("1"), denial("2"), denial("3"))
    (segment,) = segments_of(tmp_path)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0] + b"\xff" * (len(lines[1]) - 1) + b"\n" + lines[2])
    before = names_of(process.take())
    for _ in range(3):
        with pytest.raises(JournalDamagedError, match="is not a record"):
            process.take()
    assert (before, process.export(), process.lost) == (["1"], ["3"], 1)
    assert "records 2 to 2 are gone" in caplog.text


def test_a_record_that_makes_no_sense_holds_up_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and said."""
    process = Process(tmp_path)
    process.write(denial("1"), denial("2"))
    (segment,) = segments_of(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(b'"method":"Check"', b'"method":12345.7', 1))
    assert (process.export(), process.lost) == (["2"], 1)
    assert "record 1 was not exported, it makes no sense" in caplog.text


def test_a_cursor_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And written later."""
    process = Process(tmp_path)
    process.write(denial("1"))
    process.export()
    aside = tmp_path / f"{FILE}.new"
    aside.mkdir()
    with caplog.at_level(logging.WARNING):
        process.backlog.save()
        process.backlog.save()
    aside.rmdir()
    process.backlog.save()
    assert (len(caplog.messages), read_cursor(tmp_path)) == (1, 1)


def test_with_logs_every_decision_and_every_administrative_call_is_due(tmp_path: Path) -> None:
    """Events of the sidecar's own life are not."""
    call = AdministrationRecord(at=NOW, method="Revoke", outcome=AdministrationOutcome.NOT_PERMITTED)
    process = Process(tmp_path, logs=True)
    process.write(allow("unsampled", sampled=False), call, LifecycleRecord(name="x", at=NOW))
    assert process.export() == ["unsampled", "administration"]
