"""A process of its own keeps the index: it goes on whatever ends it, and ends with whoever started it."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any, cast

import pytest

from pdp.evidence import keeper
from pdp.evidence.apart import command
from pdp.evidence.following import follower_process, supervisor
from pdp.evidence.following.follower_process import FollowerProcess
from pdp.evidence.index import index_keeper, record_index
from pdp.evidence.index.filling import standing
from pdp.evidence.index.index_file import FILE
from pdp.evidence.index.record_index import RecordIndex
from pdp.evidence.index.sole_writer import sole_writer
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.trouble import IndexUnavailableError
from tests.unit.test_record_index import WRONG_INSIDE, altered, decision, found, journal

PATIENCE_S = 20.0


@pytest.fixture
def index(tmp_path: Path) -> Iterator[RecordIndex]:
    """Return the index of a journal of two records."""
    made = RecordIndex()
    made.resume(journal(tmp_path, [decision(1)], [decision(2)]), 2)
    made.start()
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    for _ in range(int(PATIENCE_S / 0.01)):
        if condition():
            return
        Event().wait(0.01)
    message = "it never came to be"
    raise AssertionError(message)


def keeper_of(index: RecordIndex) -> int:
    """Return the process that keeps an index, once there is one."""
    until(lambda: index.keeping.pid is not None)
    return cast("int", index.keeping.pid)


def records_in(file: Path) -> list[int]:
    """Return the records that an index file has; none if it is no good."""
    statement = "SELECT DISTINCT sequence FROM record ORDER BY sequence"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            return [row[0] for row in connection.execute(statement)]
    except sqlite3.DatabaseError:
        return []


def test_the_index_is_kept_without_being_asked(tmp_path: Path, index: RecordIndex) -> None:
    """Soon."""
    until(lambda: index.behind == 0)
    assert records_in(tmp_path / FILE) == [1, 2]


def test_without_records_there_is_no_process() -> None:
    """There is nothing to do for it."""
    index = RecordIndex()
    index.start()
    told = (found(index), index.keeping.pid, index.behind)
    index.close()
    assert told == ([], None, 0)


def test_how_far_it_is_behind_is_known(tmp_path: Path) -> None:
    """Also while there is no process."""
    index = RecordIndex()
    index.resume(tmp_path, 5)
    assert index.behind == 5


def test_a_process_that_is_killed_is_started_again(tmp_path: Path, index: RecordIndex) -> None:
    """And goes on where the last one left it."""
    found(index)
    first = keeper_of(index)
    os.kill(first, signal.SIGKILL)
    journal(tmp_path, [decision(3)])
    index.written((), 3)
    assert found(index) == [1, 2, 3]
    until(lambda: index.behind == 0)
    assert keeper_of(index) != first


def test_closing_leaves_no_process(index: RecordIndex) -> None:
    """Nor a zombie."""
    found(index)
    pid = keeper_of(index)
    index.close()
    assert index.keeping.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_hangs_is_ended_all_the_same(index: RecordIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing takes no longer than it may."""
    monkeypatch.setattr(follower_process, "_ENDS_WITHIN_S", 0.01)
    found(index)
    pid = keeper_of(index)
    os.kill(pid, signal.SIGSTOP)
    index.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_is_meant_for_the_sidecar_does_not_end_it(
    index: RecordIndex, tmp_path: Path, sent: signal.Signals
) -> None:
    """It still has records to write."""
    found(index)
    pid = keeper_of(index)
    os.kill(pid, sent)
    journal(tmp_path, [decision(3)])
    index.written((), 3)
    assert (found(index), index.behind, index.keeping.pid) == ([1, 2, 3], 0, pid)


def test_without_a_process_what_is_little_is_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is much is refused, which says why."""
    monkeypatch.setattr(supervisor, "command", lambda *_: [str(tmp_path / "no such program")])
    index = RecordIndex()
    index.resume(journal(tmp_path, [decision(1)], [decision(2)]), 2)
    index.start()
    told = found(index)
    monkeypatch.setattr(record_index, "_LITTLE", 1)
    with pytest.raises(IndexUnavailableError, match=r"0 of 2 records so far.*its process cannot be started"):
        found(index)
    index.close()
    assert told == [1, 2]
    assert len([one for one in caplog.messages if "its process cannot be started" in one]) == 1


def test_a_process_that_ends_by_itself_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With its last words, once, however often it does."""
    monkeypatch.setattr(supervisor, "command", lambda *_: [sys.executable, "-c", "raise SystemExit('out of ink')"])
    launched: list[FollowerProcess] = []

    def launch(*line_and_heard: Any) -> FollowerProcess:
        launched.append(FollowerProcess(*line_and_heard))
        return launched[-1]

    monkeypatch.setattr(supervisor, "FollowerProcess", launch)
    index = RecordIndex()
    index.resume(journal(tmp_path, [decision(1)]), 1)
    index.start()
    assert found(index) == [1]
    until(lambda: len(launched) > 2)
    index.close()
    assert [one for one in caplog.messages if "out of ink" in one] == [
        "the index falls behind, records may not be found: its process ended with 1: out of ink"
    ]


def test_a_file_that_is_taken_away_is_made_anew(tmp_path: Path, index: RecordIndex) -> None:
    """Also while it is kept."""
    found(index)
    (tmp_path / FILE).unlink()
    journal(tmp_path, [decision(3)])
    index.written((), 3)
    assert found(index) == [1, 2, 3]
    until(lambda: records_in(tmp_path / FILE) == [1, 2, 3])


def test_a_file_that_is_damaged_is_made_anew(tmp_path: Path, index: RecordIndex) -> None:
    """Whoever finds that first, and answers are right all the while."""
    found(index)
    file = tmp_path / FILE
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.write_bytes(b"no database" * 1000)
    assert (records_in(file), found(index)) == ([], [1, 2])
    until(lambda: records_in(file) == [1, 2])
    assert found(index) == [1, 2]


def test_a_file_that_is_made_anew_meanwhile_does_not_answer(tmp_path: Path, index: RecordIndex) -> None:
    """Half of what was read may have been of the one, half of the other."""
    found(index)
    index.close()
    old = tmp_path / "old"
    with pytest.raises(sqlite3.DatabaseError, match="made anew meanwhile"), standing(tmp_path):
        (tmp_path / FILE).rename(old)


def test_records_of_segments_that_are_removed_are_forgotten(tmp_path: Path, index: RecordIndex) -> None:
    """The index does not grow for ever."""
    found(index)
    segments_of(tmp_path)[0].unlink()
    os.kill(keeper_of(index), signal.SIGKILL)
    until(lambda: records_in(tmp_path / FILE) == [2])


def test_a_process_that_nobody_could_listen_to_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where threads run out."""
    processes: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def kept(*some: Any, **more: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(*some, **more))
        return processes[-1]

    def refuse(_: Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(subprocess, "Popen", kept)
    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(OSError, match="can't start new thread"):
        FollowerProcess(command(keeper.__name__, str(tmp_path)), lambda _: None, lambda: None)
    assert [process.returncode for process in processes] == [-signal.SIGKILL]


Started = subprocess.Popen[bytes]


@contextmanager
def started(directory: Path) -> Iterator[Started]:
    """Start a keeper as a sidecar would, and kill it afterwards."""
    with subprocess.Popen(
        command(keeper.__name__, str(directory)), bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def pipes(process: Started) -> tuple[IO[bytes], IO[bytes]]:
    """Return where it is told, and where it says."""
    return cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)


def test_it_ends_when_there_is_nobody_to_work_for(tmp_path: Path) -> None:
    """Before it was told anything, and after."""
    for told in (b"", b"1\n"):
        with started(journal(tmp_path, [decision(1)])) as process:
            process.communicate(told, PATIENCE_S)
            assert process.returncode == 0


def test_the_next_one_waits_until_the_last_has_ended(tmp_path: Path) -> None:
    """As when a sidecar was killed and is started again at once."""
    with started(journal(tmp_path, [decision(1)])) as first, started(tmp_path) as second:
        (told, says), (told_too, says_too) = pipes(first), pipes(second)
        told.write(b"1\n")
        one = says.readline()
        told_too.write(b"1\n")
        with pytest.raises(BlockingIOError), sole_writer(tmp_path):
            pass
        waited = select.select([says_too], [], [], 0.5)[0]
        told.close()
        two = says_too.readline()
    assert (one, waited, two) == (b"0\n", [], b"1\n")


def test_it_needs_little_of_the_program() -> None:
    """Neither the doors nor telemetry: it is started again and again, and stays in memory."""
    script = f"import sys, {keeper.__name__}.__main__; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout.split()
    assert (
        set(loaded) & {"grpc", "opentelemetry", "asyncio", "structlog", "yaml", "typer", "cryptography", "google"}
        == set()
    )


@pytest.mark.parametrize("statement", WRONG_INSIDE)
def test_a_file_that_is_wrong_inside_is_made_anew(tmp_path: Path, index: RecordIndex, statement: str) -> None:
    """Also while it is kept, and answers are right all the while."""
    found(index)
    altered(tmp_path, statement)
    assert found(index) == [1, 2]
    until(lambda: is_whole(tmp_path))
    assert found(index) == [1, 2]


def is_whole(directory: Path) -> bool:
    """Whether the index can be read, and has two records."""
    try:
        with standing(directory) as file:
            return file is not None and file.position.sequence == 2
    except sqlite3.Error:
        return False


def test_what_nobody_has_thought_of_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And tried again."""
    said = list[str]()
    kept = index_keeper.IndexKeeper(journal(tmp_path, [decision(1)]), said.append)

    def fails(*_: object) -> Iterator[int]:
        if said.count("OverflowError: odd") > 1:
            kept.end()
        message = "odd"
        raise OverflowError(message)

    monkeypatch.setattr(index_keeper, "fill", fails)
    monkeypatch.setattr(index_keeper, "_RETRY_S", 0.0)
    kept.hear(1)
    kept.keep()
    assert said[:4] == ["0", "OverflowError: odd"] * 2
