"""The journal on a failing disk: durable records fail at once, others wait, nothing is torn or lost in silence."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.core.model import Instant
from pdp.evidence.journal import journal_writer
from pdp.evidence.journal.entry import Entry
from pdp.evidence.journal.faulty_disk import FaultyDisk
from pdp.evidence.journal.journal import Journal
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.journal_writer import BATCH
from pdp.evidence.journal.ledger import Ledger
from pdp.evidence.record import AnyRecord, LifecycleRecord, Use
from pdp.evidence.seals.verifying import Verified, verify
from pdp.evidence.trouble import BufferFullError, EvidenceUnavailableError
from tests.sealed_journals import use
from tests.unit.core_story import REQUEST
from tests.unit.test_evidence_record_json import Faulty
from tests.unit.test_evidence_usage import allow

NOW = Instant(1_772_355_600_000_000_000)


def event(name: str) -> LifecycleRecord:
    """Return a small record."""
    return LifecycleRecord(name=name, at=NOW)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what happens on a thread of the product sets no event of ours
            await asyncio.sleep(0.001)


class Story:
    """A journal on a faulty disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.disk = FaultyDisk()
        self.settled: list[AnyRecord] = []
        self.journal = Journal(
            directory, disk=self.disk, max_buffered=8, flush_interval_s=0.001, on_settled=self.settled.extend
        )
        self.journal.open()

    async def durable(self, name: str) -> None:
        """Append durably and wait."""
        future = self.journal.append(event(name), durable=True)
        assert future is not None
        await future

    def names(self) -> list[object]:
        """Return the names of all events on disk."""
        return [entry.record()["name"] for entry in read(self.directory)]


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    """Return a story on a disk that works so far."""
    told = Story(tmp_path)
    yield told
    told.disk.mend()
    await told.journal.close()


async def test_a_durable_record_fails_when_the_disk_is_full(story: Story) -> None:
    """With the reason, and health says so."""
    story.disk.fill()
    with pytest.raises(EvidenceUnavailableError, match="No space left on device"):
        await story.durable("a")
    assert (story.journal.healthy, story.journal.status().error) == (False, "[Errno 28] No space left on device")


async def test_durable_records_fail_at_once_while_the_disk_is_down(story: Story) -> None:
    """Nobody waits for a disk that is known to be broken."""
    story.disk.break_()
    for _ in range(3):
        with pytest.raises(EvidenceUnavailableError):
            await story.durable("a")
    assert story.journal.status().held == 0


async def test_buffered_records_wait_for_the_disk(story: Story) -> None:
    """In order, behind a note of the outage; a durable one that failed never appears."""
    await story.durable("a")
    story.disk.break_()
    story.journal.append(event("b"))
    await until(lambda: not story.journal.healthy)
    with pytest.raises(EvidenceUnavailableError):
        await story.durable("refused")
    story.journal.append(event("c"))
    story.disk.mend()
    await until(lambda: story.journal.status().held == 0)
    assert story.names() == ["a", "journal_recovered", "b", "c"]
    assert isinstance(verify(story.directory), Verified)


async def test_health_comes_back_by_itself(story: Story) -> None:
    """Without any traffic: a sidecar that is not serving gets none."""
    story.disk.fill()
    with pytest.raises(EvidenceUnavailableError):
        await story.durable("a")
    story.disk.mend()
    await until(lambda: story.journal.healthy)
    await story.durable("b")
    assert story.names() == ["journal_recovered", "b"]


async def test_a_partly_written_batch_is_cut_off(story: Story) -> None:
    """A reader never sees half a record once the disk is back."""
    await story.durable("a")
    story.disk.fill(room=50)
    story.journal.append(event("b"))
    await until(lambda: not story.journal.healthy)
    story.disk.mend()
    await until(lambda: story.journal.status().held == 0)
    assert story.names() == ["a", "journal_recovered", "b"]
    assert isinstance(verify(story.directory), Verified)


async def test_what_a_failed_sync_may_have_lost_is_written_again(story: Story) -> None:
    """Everything since the last good sync, not only the last batch."""
    await story.durable("a")
    story.disk.stall()
    for name in "bcd":
        story.journal.append(event(name))
    waiting = asyncio.ensure_future(story.durable("e"))
    await until(lambda: bool(story.journal._writer.under_way))
    story.disk.break_()
    with pytest.raises(EvidenceUnavailableError):
        await waiting
    story.disk.mend()
    await until(lambda: story.journal.status().held == 0 and story.journal.healthy)
    assert story.names() == ["a", "journal_recovered", "b", "c", "d"]
    assert isinstance(verify(story.directory), Verified)


async def test_telemetry_goes_on_while_the_disk_is_down(story: Story) -> None:
    """Each record that counts is handed on once, whenever it reaches the disk."""
    story.disk.break_()
    story.journal.append(event("a"))
    await until(lambda: len(story.settled) == 1)
    story.disk.mend()
    await until(lambda: story.journal.status().held == 0)
    assert story.settled == [event("a")]


async def test_decisions_nobody_waits_for_are_held_as_bytes_alone(story: Story) -> None:
    """In one piece between those that somebody waits for, or a disk that is away for long keeps forty objects each."""
    story.disk.stall()
    for number in (1, 2):
        story.journal.append(allow(number))
    durable = story.journal.append(allow(3), durable=True)
    story.journal.append(allow(4))
    await until(lambda: len(story.journal._writer.queue) + len(entries_under_way(story)) == 3)
    entries = [*entries_under_way(story), *story.journal._writer.queue]
    assert [(entry.count, entry.record is None) for entry in entries] == [(2, True), (1, False), (1, True)]
    assert all(entry.packed and len(entry.uses) == entry.count for entry in entries)
    assert story.settled == [allow(1), allow(2), allow(4)]
    assert story.journal.status().held == 4
    story.disk.mend()
    assert durable is not None
    await durable
    await until(lambda: story.settled == [allow(1), allow(2), allow(4), allow(3)])
    assert story.journal.status().held == 0


def entries_under_way(story: Story) -> list[Entry]:
    """Return what the disk has now."""
    batch = story.journal._writer.under_way
    return [] if batch is None else batch.entries


async def test_a_full_buffer_refuses_records(story: Story) -> None:
    """Memory is bounded, and nothing is dropped to make room."""
    story.disk.break_()
    for number in range(8):
        story.journal.append(event(str(number)))
    await until(lambda: not story.journal.healthy)
    with pytest.raises(BufferFullError, match="8 records wait for the disk"):
        story.journal.append(event("8"))
    assert not await story.journal.room(0.01)
    story.disk.mend()
    assert await story.journal.room(30)
    story.journal.append(event("8"))
    await until(lambda: story.journal.status().held == 0)
    assert story.names() == ["journal_recovered", *(str(number) for number in range(9))]


async def test_a_buffer_of_many_bytes_refuses_records(tmp_path: Path) -> None:
    """However few records they are; those that gather in one turn are looked at before there are many."""
    disk = FaultyDisk()
    journal = Journal(tmp_path, disk=disk, max_buffered_bytes=1_000_000, flush_interval_s=0.001)
    journal.open()
    disk.break_()
    large = replace(use(), request=replace(REQUEST, context={"notes": "x" * 30_000}))
    appended = 0
    with pytest.raises(BufferFullError, match=r"\d{7} bytes of records wait for the disk"):  # noqa: PT012  # which one
        while appended < 1_000:
            journal.append(large)
            appended += 1
    await until(lambda: not journal.healthy)
    assert not await journal.room(0.01)
    disk.mend()
    assert await journal.room(30)
    assert await journal.close() == 0
    assert (appended, len(list(read(tmp_path)))) == (64, 64 + 1)


async def test_room_in_bytes_is_found_again_behind_durable_records_that_failed(tmp_path: Path) -> None:
    """They are not kept, so they take none."""
    disk = FaultyDisk()
    journal = Journal(tmp_path, disk=disk, max_buffered_bytes=1, flush_interval_s=0.001)
    journal.open()
    disk.break_()
    waiting = journal.append(use(), durable=True)
    assert waiting is not None
    with pytest.raises(EvidenceUnavailableError):
        await waiting
    assert await journal.room(30)
    disk.mend()
    await journal.close()


async def test_a_record_that_fails_unforeseen_holds_up_no_other(story: Story) -> None:
    """An event says that it was there."""
    story.journal.append(replace(event("a"), attributes=Faulty()))
    await story.durable("b")
    assert story.names() == ["record_unwritable", "b"]


async def test_a_disk_that_hangs_is_trouble_until_it_answers(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has failed yet, but durable decisions are denied at their deadlines."""
    monkeypatch.setattr(journal_writer, "_HANGS_AFTER_S", 0.02)
    story.disk.stall()
    waiting = asyncio.ensure_future(story.durable("a"))
    await until(lambda: not story.journal.healthy)
    assert story.journal.status().error == "the disk does not answer"
    story.disk.mend()
    await waiting
    assert story.journal.healthy


async def test_a_durable_record_that_is_late_is_not_written_if_it_can_be_helped(story: Story) -> None:
    """Its answer was denied, so it must not appear as if it was given; the one under way cannot be called back."""
    story.disk.stall()
    under_way = asyncio.ensure_future(story.durable("under way"))
    await until(lambda: story.journal._writer.under_way is not None)
    late, gone = (story.journal.append(event(name), durable=True) for name in ("late", "its client is gone"))
    assert late is not None
    assert gone is not None
    await asyncio.sleep(0)
    late.set_exception(EvidenceUnavailableError("not in time"))
    gone.cancel()
    story.disk.mend()
    await under_way
    await until(lambda: story.journal.status().held == 0)
    assert (story.names(), str(late.exception())) == (["under way", "its client is gone"], "not in time")


async def test_a_segment_that_is_removed_is_an_outage(tmp_path: Path) -> None:
    """What is written to it would be nowhere."""
    journal = Journal(tmp_path / "journal")
    journal.open()
    waiting = journal.append(event("a"), durable=True)
    assert waiting is not None
    await waiting
    shutil.rmtree(tmp_path / "journal")
    waiting = journal.append(event("b"), durable=True)
    assert waiting is not None
    with pytest.raises(EvidenceUnavailableError, match="the segment was removed"):
        await waiting
    assert not journal.healthy
    await journal.close(0.1)


async def test_all_who_wait_for_room_get_it(story: Story) -> None:
    """More of them than there is room at once."""
    story.disk.break_()
    for number in range(8):
        story.journal.append(event(str(number)))

    async def wait_and_append(name: str) -> None:
        assert await story.journal.room(30)
        story.journal.append(event(name))

    waiting = [asyncio.ensure_future(wait_and_append(f"w{number}")) for number in range(30)]
    await until(lambda: not story.journal.healthy)
    story.disk.mend()
    await asyncio.gather(*waiting)
    await until(lambda: story.journal.status().held == 0)
    assert len(story.names()) == 1 + 8 + 30


async def test_durable_records_that_arrive_during_a_sync_share_the_next(story: Story) -> None:
    """Group commit: the slower the disk, the larger the groups."""
    story.disk.stall()
    first = asyncio.ensure_future(story.durable("first"))
    await until(lambda: bool(story.journal._writer.under_way))
    others = [asyncio.ensure_future(story.durable(str(number))) for number in range(5)]
    await asyncio.sleep(0)
    story.disk.mend()
    await asyncio.gather(first, *others)
    assert story.disk.syncs == 2


async def test_closing_with_a_broken_disk_counts_what_is_given_up(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """In bounded time, and it is said."""
    story.disk.break_()
    story.journal.append(event("a"))
    story.journal.append(event("b"))
    assert await story.journal.close(0.05) == 2
    assert story.journal.status().lost == 2
    assert "closed with 2 records that could not be written" in caplog.text


async def test_closing_with_a_slow_disk_gives_nothing_up(tmp_path: Path) -> None:
    """Only one on which nothing more gets is broken."""
    disk = FaultyDisk()
    journal = Journal(tmp_path, disk=disk, flush_interval_s=60)
    journal.open()
    disk.slow(0.2)
    for number in range(4 * BATCH):
        journal.append(event(str(number)))
    assert await journal.close(0.4) == 0
    assert len(list(read(tmp_path))) == 4 * BATCH


async def test_a_decision_that_could_not_be_packed_counts_as_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is packed again for the commit, and so are those that came with it."""
    told = UsesTold()
    journal = Journal(tmp_path, disk=FaultyDisk(), ledger=told, flush_interval_s=0.001)
    journal.open()
    with monkeypatch.context() as patched:
        patched.setattr(journal, "_pack", fails)
        for number in (1, 2):
            journal.append(allow(number))
        journal._queue_fresh()
    await until(lambda: journal.status().held == 0)
    await journal.close()
    assert (told.uses, len(list(read(tmp_path)))) == (2, 2)


class UsesTold(Ledger):
    """Counts the uses it is told of."""

    uses = 0

    def written(self, uses: Sequence[Use], sequence: int) -> None:
        """Count."""
        self.uses += len(uses)


def fails(record: AnyRecord) -> bytes:
    """Fail as nothing should."""
    raise MemoryError(record.at)


async def test_closing_with_a_broken_disk_and_nothing_to_write_waits_for_nothing(story: Story) -> None:
    """Nobody needs to know whether it would work again."""
    story.disk.break_()
    with pytest.raises(EvidenceUnavailableError):
        await story.durable("a")
    async with asyncio.timeout(30):
        assert await story.journal.close(3600.0) == 0


async def test_closing_does_not_wait_for_a_disk_that_hangs(story: Story) -> None:
    """A sync cannot be interrupted, the process can still end."""
    story.disk.stall()
    story.journal.append(event("a"))
    assert await story.journal.close(0.01) == 1


async def test_the_lag_is_the_age_of_the_oldest_record(story: Story) -> None:
    """Wherever the writer keeps it; zero when all is on disk."""
    story.disk.break_()
    story.journal.append(event("a"))
    await until(lambda: not story.journal.healthy)
    assert story.journal.status().lag_s > 0
    story.disk.mend()
    await until(lambda: story.journal.status().held == 0)
    assert story.journal.status().lag_s == 0
