"""The journal on a real disk: what is written, read back, verified and gone on with."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest

from pdp.core.model import Instant
from pdp.evidence.journal.journal import Journal
from pdp.evidence.journal.journal_reader import read, tail
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.record import AnyRecord, LifecycleRecord
from pdp.evidence.seals.verifying import Broken, Verified, verify
from pdp.evidence.trouble import EvidenceUnavailableError, JournalDamagedError, JournalLockedError
from tests.integration.serving import PATIENCE_S

NOW = Instant(1_772_355_600_000_000_000)
DOCS = Path(__file__).parents[2] / "docs" / "evidence.md"


def event(name: str) -> LifecycleRecord:
    """Return a small record."""
    return LifecycleRecord(name=name, at=NOW, attributes={"padding": "x" * 100})


def names(directory: Path) -> list[object]:
    """Return the names of all events on disk."""
    return [entry.record()["name"] for entry in read(directory)]


async def write(directory: Path, *events: str, segment_bytes: int = 1 << 20) -> None:
    """Write events durably, one by one."""
    journal = Journal(directory, segment_bytes=segment_bytes)
    journal.open()
    for name in events:
        await written(journal, name)
    await journal.close()


async def written(journal: Journal, name: str) -> None:
    """Append one event durably."""
    future = journal.append(event(name), durable=True)
    assert future is not None
    await future


async def test_a_durable_record_is_on_disk_when_its_future_is_done(tmp_path: Path) -> None:
    """Another reader sees it at once."""
    journal = Journal(tmp_path)
    journal.open()
    await written(journal, "a")
    assert names(tmp_path) == ["a"]
    await journal.close()


async def test_a_buffered_record_is_written_soon(tmp_path: Path) -> None:
    """Nobody waits for it, and nothing else need happen."""
    journal = Journal(tmp_path, flush_interval_s=0.001)
    journal.open()
    assert journal.append(event("a")) is None
    async with asyncio.timeout(PATIENCE_S):
        while journal.status().held:  # noqa: ASYNC110  # what another process does sets no event of ours
            await asyncio.sleep(0.001)
    assert names(tmp_path) == ["a"]
    await journal.close()


async def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    """All of it, in order."""
    journal = Journal(tmp_path, flush_interval_s=60.0)
    journal.open()
    for number in range(2000):
        journal.append(event(str(number)))
    assert await journal.close() == 0
    assert names(tmp_path) == [str(number) for number in range(2000)]


async def test_each_record_is_handed_on_once_and_each_class_in_order(tmp_path: Path) -> None:
    """The durable ones when they are on disk, the others at once."""
    seen: list[AnyRecord] = []
    journal = Journal(tmp_path, on_settled=seen.extend)
    journal.open()
    records = [event(str(number)) for number in range(100)]
    for number, record in enumerate(records):
        journal.append(record, durable=number % 10 == 0)
    await journal.close()
    durable = records[::10]
    assert [record for record in seen if record in durable] == durable
    assert [record for record in seen if record not in durable] == [one for one in records if one not in durable]


async def test_what_a_listener_appends_overtakes_nothing(tmp_path: Path) -> None:
    """Not even where it is as much as is handed over at once."""
    first = event("first")

    def listen(records: Sequence[AnyRecord]) -> None:
        for number in range(200 if first in records else 0):
            journal.append(event(str(number)))

    journal = Journal(tmp_path, on_settled=listen)
    journal.open()
    await written(journal, "before")
    journal.append(first)
    async with asyncio.timeout(PATIENCE_S):
        while journal.status().sequence < 202:  # noqa: ASYNC110  # what another process does sets no event of ours
            await asyncio.sleep(0.001)
    await journal.close()
    assert names(tmp_path) == ["before", "first", *(str(number) for number in range(200))]


async def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Sequence and hash continue in the same segment."""
    await write(tmp_path, "a", "b")
    await write(tmp_path, "c")
    assert [entry.sequence for entry in read(tmp_path)] == [1, 2, 3]
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert (verified.records, verified.segments, verified.first_sequence) == (3, 1, 1)


async def test_segments_are_named_by_their_first_sequence(tmp_path: Path) -> None:
    """And the chain goes on over them."""
    await write(tmp_path, *"abcdef", segment_bytes=700)
    segments = [path.name for path in segments_of(tmp_path)]
    assert segments == ["00000000000000000001.jsonl", "00000000000000000003.jsonl", "00000000000000000005.jsonl"]
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert (verified.records, verified.segments) == (6, 3)


async def test_the_directory_and_its_files_are_private(tmp_path: Path) -> None:
    """Evidence names people and what they did."""
    directory = tmp_path / "journal"
    await write(directory, "a")
    modes = {oct(path.stat().st_mode & 0o777) for path in directory.iterdir()}
    assert (oct(directory.stat().st_mode & 0o777), modes) == ("0o700", {"0o600"})


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """Two writers would tear the chain; after the first has closed there is room."""
    first, second = Journal(tmp_path), Journal(tmp_path)
    first.open()
    with pytest.raises(JournalLockedError, match="another process writes"):
        second.open()
    await first.close()
    second.open()
    await second.close()


async def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    """Neither before `open` nor after `close`."""
    journal = Journal(tmp_path)
    with pytest.raises(EvidenceUnavailableError):
        journal.append(event("a"))
    journal.open()
    await journal.close()
    with pytest.raises(EvidenceUnavailableError):
        journal.append(event("a"))


async def test_a_torn_line_is_set_aside_and_said(tmp_path: Path) -> None:
    """Whole records stay, what is torn goes to a file beside, the chain goes on."""
    await write(tmp_path, "a", "b")
    segment = segments_of(tmp_path)[0]
    with segment.open("ab") as file:
        file.write(b'{"v":1,"seq":3,"ki')
    await write(tmp_path, "c")
    assert names(tmp_path) == ["a", "b", "journal_repaired", "c"]
    assert segment.with_name(f"{segment.name}.torn").read_bytes() == b'{"v":1,"seq":3,"ki'
    assert isinstance(verify(tmp_path), Verified)


async def test_a_whole_record_without_its_line_feed_is_kept(tmp_path: Path) -> None:
    """Only the line feed was torn off."""
    await write(tmp_path, "a", "b")
    segment = segments_of(tmp_path)[0]
    segment.write_bytes(segment.read_bytes()[:-1])
    await write(tmp_path, "c")
    assert names(tmp_path) == ["a", "b", "journal_repaired", "c"]
    assert isinstance(verify(tmp_path), Verified)


async def test_garbage_lines_at_the_end_are_set_aside(tmp_path: Path) -> None:
    """A power cut may leave blocks that were never written, line feeds among them."""
    await write(tmp_path, "a")
    segment = segments_of(tmp_path)[0]
    with segment.open("ab") as file:
        file.write(b"\0\0\0\n\0\n{}\n\0")
    await write(tmp_path, "b")
    assert names(tmp_path) == ["a", "journal_repaired", "b"]


async def test_an_empty_last_segment_is_gone_on_with(tmp_path: Path) -> None:
    """A crash just after a new segment was made."""
    await write(tmp_path, "a", "b", segment_bytes=700)
    (tmp_path / "00000000000000000003.jsonl").touch()
    await write(tmp_path, "c")
    assert (names(tmp_path), [entry.sequence for entry in read(tmp_path)]) == (["a", "b", "c"], [1, 2, 3])
    assert isinstance(verify(tmp_path), Verified)


async def test_reading_starts_after_a_sequence(tmp_path: Path) -> None:
    """Across segments."""
    await write(tmp_path, *"abcdef", segment_bytes=700)
    assert [entry.sequence for entry in read(tmp_path, after=3)] == [4, 5, 6]


async def test_tail_follows_what_is_appended(tmp_path: Path) -> None:
    """Over the end of a segment as well."""
    await write(tmp_path, "a", segment_bytes=700)
    following = tail(tmp_path, follow=True, poll_s=0.001)
    assert [entry.record()["name"] for entry in islice(following, 1)] == ["a"]
    await write(tmp_path, *"bcde", segment_bytes=700)
    assert [entry.record()["name"] for entry in islice(following, 4)] == list("bcde")


async def test_tail_ends_when_told_to(tmp_path: Path) -> None:
    """With or without following."""
    await write(tmp_path, "a", "b")
    assert len(list(tail(tmp_path, follow=False))) == 2
    assert len(list(tail(tmp_path, follow=True, stop=lambda: True))) == 2


async def test_reading_stops_at_a_line_that_is_no_record(tmp_path: Path) -> None:
    """It does not skip it without a word."""
    await write(tmp_path, "a")
    segments_of(tmp_path)[0].write_bytes(b"nonsense\n")
    with pytest.raises(JournalDamagedError, match=r"line 1 of segment `0+1\.jsonl` is not a record"):
        list(read(tmp_path))


def test_an_empty_directory_is_an_empty_journal(tmp_path: Path) -> None:
    """Nothing was written, so nothing is broken."""
    assert verify(tmp_path) == Verified(0, 0, 0, "0" * 64)
    assert list(read(tmp_path)) == []


async def damaged(directory: Path, lines: Sequence[int]) -> list[tuple[int, int, str]]:
    """Keep these lines (from 0) of a journal of six, in this order; return what is found broken."""
    await write(directory, *"abcdef")
    segment = segments_of(directory)[0]
    whole = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(whole[number] for number in lines))
    broken = verify(directory)
    assert isinstance(broken, list)
    return [(place.line, place.sequence, place.what) for place in broken]


async def test_a_removed_record_is_found(tmp_path: Path) -> None:
    """At the record behind the gap."""
    assert await damaged(tmp_path, [0, 1, 3, 4, 5]) == [(3, 4, "records 3 to 3 are missing before it")]


async def test_a_swapped_pair_is_found(tmp_path: Path) -> None:
    """Both are out of place, and so is what follows."""
    assert [line for line, _, _ in await damaged(tmp_path, [0, 2, 1, 3, 4, 5])] == [2, 3, 4]


async def test_a_repeated_record_is_found(tmp_path: Path) -> None:
    """It does not follow itself."""
    assert await damaged(tmp_path, [0, 1, 1, 2, 3, 4, 5]) == [(3, 2, "it is out of order: record 3 belongs here")]


async def test_an_altered_record_is_found(tmp_path: Path) -> None:
    """Once, at its own place."""
    await write(tmp_path, *"abc")
    segment = segments_of(tmp_path)[0]
    segment.write_bytes(segment.read_bytes().replace(b'"name":"b"', b'"name":"x"'))
    assert verify(tmp_path) == [Broken(segment.name, 2, 2, "the line was altered: its hash is another")]


async def test_a_rewritten_record_with_a_matching_hash_is_found(tmp_path: Path) -> None:
    """The next record does not follow it."""
    await write(tmp_path, *"abc")
    await write(tmp_path / "other", *"axc")
    ours, theirs = segments_of(tmp_path)[0], segments_of(tmp_path / "other")[0]
    lines = ours.read_bytes().splitlines(keepends=True)
    lines[1] = theirs.read_bytes().splitlines(keepends=True)[1]
    ours.write_bytes(b"".join(lines))
    assert verify(tmp_path) == [Broken(ours.name, 3, 3, "it does not follow the record before it")]


async def test_a_cut_off_line_is_found(tmp_path: Path) -> None:
    """Verification repairs nothing."""
    await write(tmp_path, *"abc")
    segment = segments_of(tmp_path)[0]
    segment.write_bytes(segment.read_bytes()[:-10])
    assert verify(tmp_path) == [Broken(segment.name, 3, 0, "the line is cut off")]


async def test_a_removed_segment_is_found(tmp_path: Path) -> None:
    """In the middle; that older ones were archived is no damage."""
    await write(tmp_path, *"abcdef", segment_bytes=700)
    (tmp_path / "00000000000000000003.jsonl").unlink()
    broken = verify(tmp_path)
    assert isinstance(broken, list)
    assert [place.what for place in broken] == ["records 3 to 4 are missing before it"]
    (tmp_path / "00000000000000000001.jsonl").unlink()
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert verified.first_sequence == 5


def run_documented_script(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the script that the documentation shows."""
    script = DOCS.read_text().partition("```python\n")[2].partition("```")[0]
    return subprocess.run([sys.executable, "-c", script, directory], capture_output=True, text=True, check=False)


async def test_the_script_in_the_documentation_verifies_a_journal(tmp_path: Path) -> None:
    """Ten lines in any language are enough, and they find an altered record."""
    await write(tmp_path / "j", *"abcdef", segment_bytes=700)
    verified = verify(tmp_path / "j")
    assert isinstance(verified, Verified)
    assert run_documented_script(tmp_path / "j").stdout.split() == ["6", verified.last_hash]
    segment = segments_of(tmp_path / "j")[0]
    segment.write_bytes(segment.read_bytes().replace(b'"name":"b"', b'"name":"x"'))
    assert "altered" in run_documented_script(tmp_path / "j").stderr


async def test_lines_are_compact_json(tmp_path: Path) -> None:
    """One object each, its hash last."""
    await write(tmp_path, "a")
    (entry,) = read(tmp_path)
    assert list(json.loads(entry.raw))[-2:] == ["attributes", "hash"]
