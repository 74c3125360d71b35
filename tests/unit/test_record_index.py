"""Records are found by what they are about: every condition, over segments, restarts, lost and damaged files."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from pdp.core.model import Drop, FactKind, Instant, Put, Revocation, RevocationTarget
from pdp.evidence.index import filling, index_file, record_index
from pdp.evidence.index import searching as paging
from pdp.evidence.index.filling import UNSEEN
from pdp.evidence.index.index_file import FILE
from pdp.evidence.index.lines import read_on
from pdp.evidence.index.offline import JournalSearch, searching
from pdp.evidence.index.query import Query, RecordKind, RecordOutcome, sequence_of
from pdp.evidence.index.record_index import RecordIndex
from pdp.evidence.journal.segments import read_segment, segments_of
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    Lapse,
    LapseRecord,
    LifecycleRecord,
)
from pdp.evidence.trace import TraceContext
from pdp.evidence.trouble import IndexUnavailableError
from tests.unit.test_evidence_usage import NOW, allow, deny, snapshot, write

SESSION = snapshot().sessions["s-1"]


def decision(number: int, *, denied: bool = False) -> DecisionRecord:
    """Return a decision with an id of its own, so many nanoseconds after the first."""
    made = deny(number) if denied else allow(number)
    return replace(made, decision_id=f"d-{number}", started_at=Instant(NOW + number), ended_at=Instant(NOW + number))


def change(revision: int, *changes: Put | Drop) -> ChangeRecord:
    """Return the record of a change."""
    return ChangeRecord(
        revision=revision, changes=changes, actor="security", at=Instant(NOW + revision), method="Revoke"
    )


def journal(directory: Path, *segments: list[AnyRecord]) -> Path:
    """Write one segment of each list of records."""
    for records in segments:
        write(directory, *records)  # type: ignore[arg-type]  # takes any record
    return directory


Open = Callable[[Path], RecordIndex]
HASH_BYTES = len('"hash":""}\n') + 64
"""At the end of a line."""


@pytest.fixture
def opened() -> Iterator[Open]:
    """Return what opens the index of a journal that is not written to."""
    indexes: list[RecordIndex] = []

    def open_(directory: Path) -> RecordIndex:
        indexes.append(RecordIndex())
        indexes[-1].resume(directory, sum(read_segment(segment).count(b"\n") for segment in segments_of(directory)))
        indexes[-1].start()
        return indexes[-1]

    yield open_
    for index in indexes:
        index.close()


def found(index: RecordIndex | JournalSearch, **asked: object) -> list[int]:
    """Return the sequences of the records asked for, the oldest first."""
    query = Query(oldest_first=True, **asked)  # type: ignore[arg-type]
    return [record.sequence for record in index.page(query).records]


ALL: list[AnyRecord] = [
    decision(1),
    decision(2, denied=True),
    change(
        3,
        Put(SESSION),
        Put(Revocation(id="r", reason="r", target=RevocationTarget.TASK, target_id="t-1", effective_at=NOW)),
    ),
    AdministrationRecord(
        at=Instant(NOW + 4),
        method="Approve",
        outcome=AdministrationOutcome.REFUSED,
        rule="FOUR_EYES",
        about="approval:a-1",
    ),
    LapseRecord(
        at=Instant(NOW + 5),
        ended_at=Instant(NOW + 5),
        what=Lapse.SESSION_EXPIRED,
        kind=FactKind.SESSION,
        id="s-1",
        identity="job",
        task="t-1",
        approval="a-1",
        trace=TraceContext("a" * 32, "b" * 16),
    ),
    LifecycleRecord(name="stopped", at=Instant(NOW + 6)),
    change(7, Drop(FactKind.TASK, "t-9")),
]


@pytest.mark.parametrize(
    ("asked", "sequences"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7]),
        ({"identity": "job"}, [1, 2, 3, 5]),
        ({"owner": "o"}, [1]),
        ({"session": "s-1"}, [1, 2, 3, 5]),
        ({"task": "t-1"}, [1, 3, 5]),
        ({"task": "t-9"}, [7]),
        ({"approval": "a-1"}, [1, 3, 4, 5]),
        ({"code": "GRANTED"}, [1]),
        ({"code": "STATE_STALE"}, [2]),
        ({"code": "FOUR_EYES"}, [4]),
        ({"code": "session_expired"}, [5]),
        ({"code": "stopped"}, [6]),
        ({"outcome": RecordOutcome.DENY}, [2]),
        ({"outcome": RecordOutcome.REFUSED}, [4]),
        ({"kind": RecordKind.CHANGE}, [3, 7]),
        ({"decision_id": "d-2"}, [2]),
        ({"decision_id": "d-2", "outcome": RecordOutcome.ALLOW}, []),
        ({"decision_id": "d-9"}, []),
        ({"session": "s-1", "kind": RecordKind.DECISION, "outcome": RecordOutcome.ALLOW}, [1]),
        ({"session": "s-1", "code": "FOUR_EYES"}, []),
        ({"session": "never heard of"}, []),
        ({"since": Instant(NOW + 2), "until": Instant(NOW + 5)}, [2, 3, 4]),
        ({"since": Instant(NOW + 5), "session": "s-1"}, [5]),
        ({"until": Instant(NOW + 1)}, []),
        ({"since": Instant(-(10**20)), "until": Instant(10**20)}, [1, 2, 3, 4, 5, 6, 7]),
        ({"since": Instant(10**20)}, []),
        ({"until": Instant(-(10**20))}, []),
        ({"since": Instant(NOW + 99)}, []),
    ],
)
def test_records_meet_every_condition(tmp_path: Path, asked: dict[str, object], sequences: list[int]) -> None:
    """By the ids they have themselves, and those of the facts they wrote."""
    with searching(journal(tmp_path, ALL[:3], ALL[3:])) as search:
        assert found(search, **asked) == sequences


@pytest.mark.parametrize("few", [0, 5_000])
@pytest.mark.parametrize("nearby", [0, 3, 100_000])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_together_are_all_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, few: int, nearby: int, oldest_first: bool
) -> None:
    """Whichever way they are looked for."""
    monkeypatch.setattr(index_file, "_FEW", few)
    monkeypatch.setattr(index_file, "_NEARBY", nearby)
    records: list[AnyRecord] = [decision(number, denied=number % 3 == 0) for number in range(1, 21)]
    token, told = "", []
    with searching(journal(tmp_path, records[:8], records[8:])) as search:
        while True:
            page = search.page(Query(outcome=RecordOutcome.DENY, oldest_first=oldest_first), token, 2)
            told += [record.sequence for record in page.records]
            token = page.next_token
            if not token:
                break
    assert told == sorted([3, 6, 9, 12, 15, 18], reverse=not oldest_first)


def test_a_record_is_told_as_it_stands(tmp_path: Path, opened: Open) -> None:
    """The line, without line feed."""
    lines = segments_of(journal(tmp_path, ALL))[0].read_bytes().splitlines()
    index = opened(tmp_path)
    assert [record.raw for record in index.page(Query(oldest_first=True)).records] == lines
    one = index.record(3)
    assert one is not None
    assert (one.raw, index.record(99)) == (lines[2], None)


def test_what_comes_later_is_found_as_soon_as_it_is_on_disk(tmp_path: Path, opened: Open) -> None:
    """And what is not known to be there is not told."""
    index = opened(journal(tmp_path, [decision(1)]))
    assert found(index) == [1]
    journal(tmp_path, [decision(2), decision(3)])
    index.written((), 2)
    assert found(index) == [1, 2]
    index.written((), 3)
    assert found(index) == [1, 2, 3]


def test_an_index_goes_on_where_the_last_run_left_it(tmp_path: Path, opened: Open) -> None:
    """Nothing is read twice: the line before is not even a record any more, but for its hash."""
    index = opened(journal(tmp_path, [decision(1)]))
    found(index)
    index.close()
    segment = segments_of(tmp_path)[0]
    line = segment.read_bytes()
    segment.write_bytes(b"x" * (len(line) - HASH_BYTES) + line[-HASH_BYTES:])
    journal(tmp_path, [decision(2)])
    assert opened(tmp_path).page(Query(decision_id="d-2")).records[0].sequence == 2


@pytest.mark.parametrize("content", [None, b"", b"no database" * 1000])
def test_a_lost_or_damaged_index_is_made_anew(tmp_path: Path, opened: Open, content: bytes | None) -> None:
    """It is derived."""
    index = opened(journal(tmp_path, ALL))
    found(index)
    index.close()
    if content is None:
        (tmp_path / FILE).unlink()
    else:
        (tmp_path / FILE).write_bytes(content)
    assert len(found(opened(tmp_path))) == len(ALL)


WRONG_INSIDE = [
    "DELETE FROM indexed",
    "DROP TABLE record",
    "DROP INDEX record_topic",
    "ALTER TABLE record RENAME COLUMN at TO noon",
]


@pytest.mark.parametrize("statement", WRONG_INSIDE)
def test_an_index_that_is_wrong_inside_is_made_anew(tmp_path: Path, opened: Open, statement: str) -> None:
    """Though it is a database, and of this version."""
    index = opened(journal(tmp_path, ALL))
    found(index)
    index.close()
    altered(tmp_path, statement)
    with searching(tmp_path) as search:
        offline = found(search, identity="job")
    assert (offline, found(opened(tmp_path), identity="job")) == ([1, 2, 3, 5], [1, 2, 3, 5])


def test_places_that_are_wrong_are_found_anew(tmp_path: Path, opened: Open) -> None:
    """Another record does not answer in the place of the one asked for."""
    index = opened(journal(tmp_path, ALL))
    found(index)
    altered(tmp_path, "UPDATE record SET (offset, length) = (SELECT offset, length FROM record WHERE sequence = 1)")
    with pytest.raises(sqlite3.DatabaseError, match="not where the index has it"), searching(tmp_path) as search:
        found(search, decision_id="d-2")
    assert found(index, identity="job") == [1, 2, 3, 5]


def altered(directory: Path, statement: str) -> None:
    """Alter an index behind the back of whoever keeps it."""
    with closing(sqlite3.connect(directory / FILE, isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("ask", ["sidecar", "directory"])
def test_an_index_of_another_journal_is_told_by_its_last_record(tmp_path: Path, opened: Open, ask: str) -> None:
    """Though its lines are as long as this one's."""
    index = opened(journal(tmp_path, [decision(1)]))
    found(index)
    index.close()
    line = segments_of(tmp_path)[0].read_bytes()
    segments_of(tmp_path)[0].unlink()
    journal(tmp_path, [decision(2)])
    assert len(segments_of(tmp_path)[0].read_bytes()) == len(line)
    if ask == "sidecar":
        assert found(opened(tmp_path), decision_id="d-2") == [1]
    else:
        with searching(tmp_path) as search:
            assert found(search, decision_id="d-2") == [1]


def test_an_index_of_another_journal_is_made_anew(tmp_path: Path, opened: Open) -> None:
    """It knows of records that this one has not."""
    index = opened(journal(tmp_path, ALL))
    found(index)
    index.close()
    for segment in segments_of(tmp_path):
        segment.unlink()
    journal(tmp_path, [decision(9)])
    assert found(opened(tmp_path), decision_id="d-9") == [1]


def test_an_index_of_another_journal_is_not_read(tmp_path: Path, opened: Open) -> None:
    """Also where no sidecar makes it anew."""
    index = opened(journal(tmp_path, ALL))
    found(index)
    index.close()
    for segment in segments_of(tmp_path):
        segment.unlink()
    journal(tmp_path, [decision(9)])
    with searching(tmp_path) as search:
        assert [record.sequence for record in search.records(Query(decision_id="d-9"))] == [1]


def test_records_of_compressed_segments_are_found(tmp_path: Path, opened: Open) -> None:
    """Whether they were compressed before or after they were indexed."""
    journal(tmp_path, [decision(1)], [decision(2)], [decision(3)])
    compress(tmp_path, 0)
    index = opened(tmp_path)
    before = found(index)
    compress(tmp_path, 1)
    after = found(index)
    assert (before, after) == ([1, 2, 3], [1, 2, 3])


def compress(directory: Path, number: int) -> None:
    """Replace a segment by its compressed form."""
    segment = segments_of(directory)[number]
    segment.with_name(f"{segment.name}.gz").write_bytes(gzip.compress(segment.read_bytes()))
    segment.unlink()


def test_records_of_removed_segments_are_not_told(tmp_path: Path, opened: Open) -> None:
    """Neither at once nor after a restart, which forgets them."""
    index = opened(journal(tmp_path, [decision(1), decision(2)], [decision(3)]))
    found(index)
    segments_of(tmp_path)[0].unlink()
    at_once = found(index)
    index.close()
    again = opened(tmp_path)
    again.written((), 3)
    later = found(again)
    gone = again.record(1)
    assert (at_once, later, gone) == ([3], [3], None)


def test_a_segment_that_is_removed_while_others_are_read_is_passed_over(tmp_path: Path) -> None:
    """As one that was removed before."""
    lines = read_on(journal(tmp_path, [decision(1)], [decision(2)], [decision(3)]), UNSEEN)
    first = next(lines).record.place.sequence
    segments_of(tmp_path)[1].unlink()
    assert [first, *(read.record.place.sequence for read in lines)] == [1, 3]


def test_a_question_is_refused_rather_than_answered_in_part(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is too much to read first."""
    monkeypatch.setattr(record_index, "_LITTLE", 1)
    index = opened(journal(tmp_path, [decision(1)]))
    found(index)
    index.close()
    journal(tmp_path, [decision(2), decision(3)])
    index.written((), 3)
    with pytest.raises(IndexUnavailableError, match="the index has 1 of 3 records so far, ask again later"):
        index.page(Query())


def test_a_damaged_journal_is_not_passed_over(tmp_path: Path, opened: Open) -> None:
    """What cannot be read might be what is asked for."""
    segment = segments_of(journal(tmp_path, [decision(1)]))[0]
    segment.write_bytes(segment.read_bytes() + b"no record\n")
    with pytest.raises(IndexUnavailableError, match="is not a record"):
        opened(tmp_path).page(Query())


def test_missing_lines_are_not_passed_over(tmp_path: Path, opened: Open) -> None:
    """The journal has said that they are on disk."""
    index = opened(journal(tmp_path, [decision(1)]))
    index.written((), 2)
    with pytest.raises(IndexUnavailableError, match="record 2 is missing"):
        index.page(Query())


@pytest.mark.parametrize("token", ["x", "-1", "1.0", "٣", "9" * 30])
def test_what_is_no_token_is_refused(token: str) -> None:
    """A page goes on behind a sequence."""
    with pytest.raises(ValueError, match="not a page token"):
        sequence_of(token)


def test_without_a_sidecar_the_index_is_brought_up_to_date(tmp_path: Path) -> None:
    """By whoever asks first."""
    (journal(tmp_path, ALL) / "lock").touch()
    with searching(tmp_path) as search:
        told = [record.sequence for record in search.records(Query(session="s-1"), 2)]
    assert (told, (tmp_path / FILE).exists()) == ([5, 3], True)


def test_beside_a_sidecar_nothing_is_written(tmp_path: Path, opened: Open) -> None:
    """What its index does not have yet is found all the same, in the right order."""
    found(opened(journal(tmp_path, [decision(1), decision(2)])))
    before = (tmp_path / FILE).read_bytes()
    journal(tmp_path, [decision(3, denied=True), decision(4)])
    with searching(tmp_path) as search:
        newest = [record.sequence for record in search.records(Query(kind=RecordKind.DECISION))]
        pages = [record.sequence for record in search.page(Query(oldest_first=True), "1", 2).records]
        one = search.record(4)
    assert (newest, pages, one is not None) == ([4, 3, 2, 1], [2, 3], True)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_kind_yet_unknown_is_found_by_what_it_names(tmp_path: Path, opened: Open) -> None:
    """Members are added to the journal, and kinds may be."""
    segment = segments_of(journal(tmp_path, [decision(1)]))[0]
    said = {"kind": "forecast", "time": "2026-03-01T09:00:00.000000000Z", "session_id": "s-7"}
    segment.write_bytes(segment.read_bytes() + line_of(msgspec.json.encode(said), 2, GENESIS)[0])
    assert found(opened(tmp_path), session="s-7") == [2]


def test_records_of_a_clock_far_ahead_are_found(tmp_path: Path, opened: Open) -> None:
    """Times that SQLite has no room for are one to the index: later than all others."""
    ahead = Instant(1 << 63)
    late = replace(decision(2), started_at=ahead, ended_at=ahead)
    index = opened(journal(tmp_path, [decision(1), late, decision(3)]))
    assert (found(index), found(index, since=Instant(NOW + 4))) == ([1, 2, 3], [2])
    with searching(tmp_path) as search:
        assert found(search, until=Instant(1 << 70)) == [1, 2, 3]


def test_a_record_that_was_altered_is_not_told(tmp_path: Path, opened: Open) -> None:
    """Whoever asks would take it for evidence."""
    segment = segments_of(journal(tmp_path, [decision(1)]))[0]
    line = segment.read_bytes()
    segment.write_bytes(line.replace(b'"method":"Check"', b'"method":"Chock"'))
    with pytest.raises(IndexUnavailableError, match=r"record 1 in segment `.*` was altered: its hash is another"):
        found(opened(tmp_path))


@pytest.mark.parametrize("sequence", [b"0", b"-7", b"9223372036854775808"])
def test_a_line_whose_number_no_record_has_is_damage(tmp_path: Path, opened: Open, sequence: bytes) -> None:
    """It is said, rather than anything else going wrong."""
    segment = segments_of(journal(tmp_path, [decision(1)]))[0]
    segment.write_bytes(segment.read_bytes().replace(b'"seq":1,', b'"seq":%b,' % sequence))
    with pytest.raises(IndexUnavailableError, match="is not a record"):
        opened(tmp_path).page(Query())


def test_a_page_ends_where_much_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one record at least, and the next page goes on behind it."""
    lengths = [len(line) for line in segments_of(journal(tmp_path, ALL))[0].read_bytes().splitlines()]
    monkeypatch.setattr(paging, "_MOST_BYTES", lengths[0] + lengths[1])
    with searching(tmp_path) as search:
        first = search.page(Query(oldest_first=True))
        monkeypatch.setattr(paging, "_MOST_BYTES", 1)
        second = search.page(Query(oldest_first=True), first.next_token)
        all_of_them = [record.sequence for record in search.records(Query(oldest_first=True))]
    assert [[record.sequence for record in page.records] for page in (first, second)] == [[1, 2], [3]]
    assert (second.next_token, all_of_them) == ("3", [1, 2, 3, 4, 5, 6, 7])


def test_what_is_taken_in_at_once_is_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where lines are long: what they are about is in memory until it is written."""
    lengths = [len(line) for line in segments_of(journal(tmp_path, ALL))[0].read_bytes().splitlines()]
    monkeypatch.setattr(filling, "_BYTES_AT_ONCE", sum(lengths[:3]))
    with filling.temporary(UNSEEN) as file:
        assert next(filling.fill(file, tmp_path)) == 3
