"""The process that writes the journal: killed, stopped, outliving its sidecar, and not to be had."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from pdp.core.model import Instant
from pdp.evidence.journal.disk import LocalDisk
from pdp.evidence.journal.journal import Journal
from pdp.evidence.journal.journal_end import find_end
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.scribe_process import ScribeProcess
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import ChainEnd, segments_of
from pdp.evidence.line.masking import Masking, MaskRule
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import LifecycleRecord
from pdp.evidence.seals.verifying import Verified, verify
from pdp.evidence.trouble import EvidenceUnavailableError

NOW = Instant(1_772_355_600_000_000_000)

SIDECAR = """
import asyncio, sys
from pathlib import Path
from pdp.core.model import Instant
from pdp.evidence.journal.journal import Journal
from pdp.evidence.record import LifecycleRecord

async def main():
    journal = Journal(Path(sys.argv[1]), flush_interval_s=0.0)
    journal.open()
    await journal.append(LifecycleRecord(name="a", at=Instant(1)), durable=True)
    print(journal._writer._scribe.pid, flush=True)
    sys.stdin.readline()
    for name in "bc":
        journal.append(LifecycleRecord(name=name, at=Instant(1)))
    await asyncio.sleep(0.2)
    print("sent", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def event(name: str) -> LifecycleRecord:
    """Return a small record."""
    return LifecycleRecord(name=name, at=NOW)


def names(directory: Path) -> list[object]:
    """Return the names of all events on disk."""
    return [entry.record()["name"] for entry in read(directory)]


def pid_of(journal: Journal) -> int:
    """Return the number of the process that writes."""
    scribe = journal._writer._scribe
    assert isinstance(scribe, ScribeProcess)
    assert scribe.pid is not None
    return scribe.pid


async def durable(journal: Journal, name: str) -> None:
    """Append durably and wait."""
    future = journal.append(event(name), durable=True)
    assert future is not None
    await future


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # it sets no event of ours
            await asyncio.sleep(0.001)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """Return a journal with one record."""
    opened = Journal(tmp_path, flush_interval_s=0.001)
    opened.open()
    await durable(opened, "a")
    yield opened
    await opened.close()


async def test_a_scribe_that_is_killed_is_replaced(journal: Journal, tmp_path: Path) -> None:
    """Nothing that counts is lost by it, and nothing is there twice."""
    killed = pid_of(journal)
    os.kill(killed, signal.SIGKILL)
    journal.append(event("b"))
    await until(lambda: journal.healthy and journal.status().held == 0)
    await durable(journal, "c")
    assert pid_of(journal) != killed
    # Whether anything was under way then is chance, and so is whether there was an outage.
    assert [name for name in names(tmp_path) if name != "journal_recovered"] == ["a", "b", "c"]
    assert isinstance(verify(tmp_path), Verified)


async def test_a_clean_stop_says_nothing(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    """The scribe ends because it is told to."""
    await journal.close()
    assert caplog.text == ""


async def test_a_scribe_that_dies_idle_is_said(
    journal: Journal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the next record is written all the same."""
    os.kill(pid_of(journal), signal.SIGKILL)
    await until(lambda: "the process that writes it has ended with -9" in caplog.text)
    await durable(journal, "b")
    assert (names(tmp_path), journal.status().errors) == (["a", "b"], 0)


async def test_a_durable_record_fails_with_its_scribe_and_never_appears(journal: Journal, tmp_path: Path) -> None:
    """Its answer was never given; what nobody waited for is written by the next one."""
    os.kill(pid_of(journal), signal.SIGSTOP)
    waiting = asyncio.ensure_future(durable(journal, "denied"))
    await until(lambda: journal._writer.under_way is not None)
    journal.append(event("b"))
    os.kill(pid_of(journal), signal.SIGKILL)
    with pytest.raises(EvidenceUnavailableError, match="the process that writes it has ended with -9"):
        await waiting
    await until(lambda: journal.healthy and journal.status().held == 0)
    assert names(tmp_path) == ["a", "journal_recovered", "b"]


async def test_a_commit_larger_than_a_socket_takes_at_once_arrives(journal: Journal, tmp_path: Path) -> None:
    """Part by part, whatever it holds."""
    large = LifecycleRecord(name="large", at=NOW, attributes={"x": "\n\u2028\x00" * 1_000_000})
    future = journal.append(large, durable=True)
    assert future is not None
    await future
    (_, found) = read(tmp_path)
    assert found.record()["attributes"] == {"x": "\n\u2028\x00" * 1_000_000}


MASKS = [MaskRule(attributes=[f"context.attribute-{number}" for number in range(20_000)])]


async def test_an_opening_larger_than_a_socket_takes_at_once_arrives(tmp_path: Path) -> None:
    """Part by part, and the first commit behind it."""
    masking = Masking(MASKS)
    masking.start(tmp_path)
    opened = Journal(tmp_path, masking=masking)
    opened.open()
    await durable(opened, "a")
    await opened.close()
    assert names(tmp_path) == ["a"]


async def test_a_scribe_that_dies_before_it_has_read_its_opening_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an outage, not the end of the event loop."""
    masking = Masking(MASKS)
    masking.start(tmp_path)
    opened = Journal(tmp_path, masking=masking)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/bin/false")
        with suppress(OSError):
            opened.open()
    if not opened._opened:  # it was dead before the first part was sent
        opened.open()
    await until(lambda: not opened._writer._scribe._unsent)  # type: ignore[attr-defined]
    opened.append(event("a"))
    await until(lambda: opened.healthy and opened.status().held == 0)
    await opened.close()
    assert "a" in names(tmp_path)


@contextmanager
def sidecar(directory: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a process that has written one record, with the number of its scribe."""
    command = [sys.executable, "-c", SIDECAR, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())


def test_what_a_killed_sidecar_had_sent_is_written(tmp_path: Path) -> None:
    """Its scribe lives on until that is done, and holds the lock, so the next start waits for it.

    A process that is stopped goes on when its session's last one is gone.
    """
    with sidecar(tmp_path) as (process, scribe):
        os.kill(scribe, signal.SIGSTOP)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "sent\n"
        assert names(tmp_path) == ["a"]
        process.kill()
        process.wait()

    async def start_again() -> None:
        again = Journal(tmp_path)
        again.open()
        await durable(again, "d")
        await again.close()

    asyncio.run(start_again())
    assert names(tmp_path) == ["a", "b", "c", "d"]


async def test_a_scribe_that_cannot_be_started_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is given back."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "none"))
        with pytest.raises(FileNotFoundError):
            Journal(tmp_path).open()
    journal = Journal(tmp_path)
    journal.open()
    await journal.close()


async def test_a_scribe_that_cannot_be_replaced_is_an_outage(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the disk had failed, until it can be."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(tmp_path / "none"))
        os.kill(pid_of(journal), signal.SIGKILL)
        journal.append(event("b"))
        await until(lambda: "No such file" in journal.status().error)
        with pytest.raises(EvidenceUnavailableError):
            await durable(journal, "denied")
    await until(lambda: journal.healthy and journal.status().held == 0)
    assert names(tmp_path) == ["a", "journal_recovered", "b"]


def write(directory: Path, *written: str, segment_bytes: int = 1 << 20) -> ChainEnd:
    """Write events, and return where the journal ends."""
    log = SegmentLog(directory, LocalDisk(), segment_bytes, find_end(directory)[0])
    for name in written:
        log.commit([body_of(event(name))])
    log.close()
    return log.synced


def test_what_a_scribe_wrote_and_never_answered_for_is_cut_off(tmp_path: Path) -> None:
    """The next one goes on where the sidecar knows that the journal ends."""
    end = write(tmp_path, "a")
    write(tmp_path, "unanswered")
    log = SegmentLog(tmp_path, LocalDisk(), 1 << 20, end, astray=True)
    log.commit([body_of(event("b"))])
    log.close()
    assert names(tmp_path) == ["a", "b"]


def test_so_is_a_segment_that_it_began(tmp_path: Path) -> None:
    """The end is then behind a full segment, and names none."""
    end = write(tmp_path, "a", segment_bytes=1)
    assert end.segment is None
    behind = SegmentLog(tmp_path, LocalDisk(), 1 << 20, end)
    behind.commit([body_of(event("unanswered"))])
    behind.close()
    assert len(segments_of(tmp_path)) == 1 + 1
    log = SegmentLog(tmp_path, LocalDisk(), 1 << 20, end, astray=True)
    log.commit([body_of(event("b"))])
    log.close()
    assert names(tmp_path) == ["a", "b"]
    assert isinstance(verify(tmp_path), Verified)
