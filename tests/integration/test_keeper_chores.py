"""The keeper's process folds and compresses large segments; where it does not, all is done nevertheless."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from pdp.evidence.apart import ApartError, ApartLateError
from pdp.evidence.archive import archive
from pdp.evidence.archive.retention import Retention
from pdp.evidence.following import follower_process, supervisor
from pdp.evidence.following.follower_process import FollowerProcess
from pdp.evidence.index.record_index import RecordIndex
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.keeper.chores import Chore, Chores, Leisure, Order, Outcome, Told
from pdp.evidence.keeper.keeping import Keeping
from pdp.evidence.seals.verifying import Verified, verify
from tests.processes import runs
from tests.sealed_journals import keep, use

FIRST, SECOND = f"{1:020d}", f"{3:020d}"
PATIENCE_S = 20.0


@pytest.fixture
def index() -> Iterator[RecordIndex]:
    """Return an index that is closed afterwards."""
    made = RecordIndex()
    yield made
    made.close()


@pytest.fixture
def keeping(tmp_path: Path, index: RecordIndex) -> Keeping:
    """Return who has a keeper do things with a journal of two full segments that are plain."""
    keep(tmp_path, *"abcde")
    index.resume(tmp_path, 5)
    index.start()
    index.record(5)  # there is a process now
    return index.keeping


def goes_on() -> bool:
    """Answer whether to stop."""
    return False


def all_but_last_compressed(directory: Path) -> bool:
    """Whether that is so."""
    return all(path.suffix == ".gz" for path in segments_of(directory)[:-1])


def refuses(*_: object) -> object:
    """Be what must not be needed."""
    message = "a thread must not do this"
    raise AssertionError(message)


def test_large_segments_are_sealed_and_compressed(
    tmp_path: Path, index: RecordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a thread of the sidecar."""
    monkeypatch.setattr(archive, "compress", refuses)
    monkeypatch.setattr(archive, "LARGE", 1)
    keep(tmp_path, *[use()] * 5, compressed=True, index=index, until=lambda: all_but_last_compressed(tmp_path))
    assert [entry.sequence for entry in read(tmp_path)] == [1, 2, 3, 4, 5]
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert verified.seals == len(segments_of(tmp_path))


@pytest.fixture
def hanging(index: RecordIndex, monkeypatch: pytest.MonkeyPatch) -> RecordIndex:
    """Return an index whose keeper hears nothing; every segment is large."""
    monkeypatch.setattr(archive, "LARGE", 1)
    monkeypatch.setattr(follower_process, "_ENDS_WITHIN_S", 0.01)
    monkeypatch.setattr(supervisor, "command", lambda *_: ["sleep", "60"])
    return index


def test_a_keeper_that_hangs_keeps_no_segment_without_a_seal(
    tmp_path: Path, hanging: RecordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its uses are folded by a thread then; to be made small it can wait."""
    monkeypatch.setattr(archive, "_FOLDED_WITHIN_S", (0.0, 0.0))
    monkeypatch.setattr(archive, "_COMPRESSED_WITHIN_S", (0.0, 0.0))
    keep(tmp_path, use(), use(), compressed=True, index=hanging, until=(tmp_path / f"{1:020d}.seal").exists)
    assert isinstance(verify(tmp_path), Verified)
    assert {path.suffix for path in segments_of(tmp_path)} == {".jsonl"}


def test_segments_do_not_queue_for_a_keeper_that_hangs(
    tmp_path: Path, hanging: RecordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long one would wait for it."""
    monkeypatch.setattr(archive, "_FOLDED_WITHIN_S", (10_000.0, 0.0))
    keep(tmp_path, *[use()] * 5, index=hanging, until=(tmp_path / f"{4:020d}.seal").exists)
    assert isinstance(verify(tmp_path), Verified)


def test_a_keeper_that_hangs_keeps_nothing_from_being_removed(tmp_path: Path, hanging: RecordIndex) -> None:
    """What is too much goes before anything is made small."""
    keep(tmp_path, *"abcdefg")
    little = Retention(keep_bytes=1)
    keep(tmp_path, compressed=True, retention=little, index=hanging, until=lambda: len(segments_of(tmp_path)) <= 2)
    assert isinstance(verify(tmp_path), Verified)


def test_the_uses_are_folded_as_a_thread_does(tmp_path: Path, keeping: Keeping) -> None:
    """Byte by byte: the seal vouches for them."""
    uses = tmp_path / f"{FIRST}.uses"
    before = uses.read_bytes()
    uses.unlink()
    assert keeping.have_done(Chore.FOLD, tmp_path / f"{FIRST}.jsonl", PATIENCE_S, goes_on)
    assert before == uses.read_bytes()


@pytest.mark.parametrize("chore", Chore)
def test_what_cannot_be_done_is_said(tmp_path: Path, keeping: Keeping, chore: Chore) -> None:
    """And leaves nothing behind."""
    none = f"{7:020d}"
    with pytest.raises(ApartError, match="No such file or directory"):
        keeping.have_done(chore, tmp_path / f"{none}.jsonl", PATIENCE_S, goes_on)
    assert [*tmp_path.glob(f"{none}*")] == []


def test_without_a_keeper_nobody_waits(tmp_path: Path) -> None:
    """As before the start."""
    with pytest.raises(ApartError, match="there is no keeper"):
        Keeping(lambda: 1).have_done(Chore.FOLD, tmp_path / f"{FIRST}.jsonl", PATIENCE_S, goes_on)


def never_ending(directory: Path) -> Path:
    """Make a segment that is waited for when it is opened, for ever."""
    segment = directory / f"{9:020d}.jsonl"
    os.mkfifo(segment)
    return segment


def test_a_keeper_that_ends_is_not_waited_for(tmp_path: Path, keeping: Keeping) -> None:
    """Its next one does what it is told."""

    def kills() -> bool:
        os.kill(keeping.pid or 0, signal.SIGKILL)
        return False

    with pytest.raises(ApartError, match="the keeper's process ended with -9"):
        keeping.have_done(Chore.COMPRESS, never_ending(tmp_path), PATIENCE_S, kills)
    assert keeping.have_done(Chore.COMPRESS, tmp_path / f"{FIRST}.jsonl", PATIENCE_S, goes_on)
    assert (tmp_path / f"{FIRST}.jsonl.gz").exists()


@pytest.mark.parametrize("chore", Chore)
def test_the_keeper_ends_with_its_sidecar(tmp_path: Path, index: RecordIndex, keeping: Keeping, chore: Chore) -> None:
    """Whatever it is doing, and nobody waits for that any longer."""
    pid = keeping.pid or 0
    assert not keeping.have_done(chore, never_ending(tmp_path), PATIENCE_S, lambda: True)
    index.close()
    assert not runs(pid)


def test_what_is_late_is_given_up(tmp_path: Path, keeping: Keeping) -> None:
    """Whoever waits can do it otherwise."""
    with pytest.raises(ApartLateError, match="the keeper did not compress segment"):
        keeping.have_done(Chore.COMPRESS, never_ending(tmp_path), 0.0, goes_on)


def test_what_was_given_up_and_is_wanted_again_is_done(
    tmp_path: Path, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the keeper hears all of it at once."""
    tell, hears = FollowerProcess.tell, Event()
    monkeypatch.setattr(FollowerProcess, "tell", lambda process, line: hears.is_set() and tell(process, line))
    segment = tmp_path / f"{FIRST}.jsonl"
    with pytest.raises(ApartLateError):
        keeping.have_done(Chore.COMPRESS, segment, 0.0, goes_on)

    def begins_to_hear() -> bool:
        hears.set()
        return False

    assert keeping.have_done(Chore.COMPRESS, segment, PATIENCE_S, begins_to_hear)


def test_what_was_given_up_before_the_keeper_heard_of_it_is_not_done(
    tmp_path: Path, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wanted it does it otherwise."""
    tell, told = FollowerProcess.tell, list[str]()
    hears = Event()

    def tells(process: FollowerProcess, line: str) -> bool:
        told.append(line)
        return hears.is_set() and tell(process, line)

    monkeypatch.setattr(FollowerProcess, "tell", tells)
    with pytest.raises(ApartLateError):
        keeping.have_done(Chore.FOLD, tmp_path / f"{SECOND}.jsonl", 0.0, goes_on)
    told.clear()
    hears.set()
    assert keeping.have_done(Chore.COMPRESS, tmp_path / f"{FIRST}.jsonl", PATIENCE_S, goes_on)
    assert [line for line in told if SECOND in line] == []


class Worker:
    """Chores on a thread of this process, which is told things in the middle of one."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to work."""
        self.said = list[Outcome]()
        self.answered = Event()
        self.chores = Chores(directory, self._say)
        self.meanwhile: Callable[[], None] = lambda: None
        self.compressed = list[str]()
        monkeypatch.setattr("pdp.evidence.keeper.chores.compress", self._compress)
        self.thread = Thread(target=self.chores.work)
        self.thread.start()

    def _compress(self, segment: Path, stopping: Callable[[], bool]) -> bool:
        self.meanwhile()
        assert not stopping()
        self.compressed.append(segment.name)
        return True

    def _say(self, outcome: Outcome) -> None:
        self.said.append(outcome)
        self.answered.set()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """Return a worker on a journal of two full segments."""
    keep(tmp_path, *"abcde")
    made = Worker(tmp_path, monkeypatch)
    yield made
    made.chores.end()
    made.thread.join()


COMPRESS, FOLD = Order(Chore.COMPRESS, f"{FIRST}.jsonl"), Order(Chore.FOLD, f"{SECOND}.jsonl")


def test_a_fold_does_not_wait_for_a_compression(worker: Worker) -> None:
    """It is done in the middle of it: a segment waits for its seal."""
    worker.meanwhile = lambda: worker.chores.hear(Told(FOLD))
    worker.chores.hear(Told(COMPRESS))
    while len(worker.said) < 2:
        worker.answered.wait(PATIENCE_S)
        worker.answered.clear()
    assert worker.said == [Outcome(FOLD), Outcome(COMPRESS)]


def test_what_nobody_waits_for_is_given_up_in_the_middle(worker: Worker) -> None:
    """And what is told then is done."""
    worker.meanwhile = lambda: worker.chores.hear(Told(COMPRESS, wanted=False))
    worker.chores.hear(Told(COMPRESS))
    worker.chores.hear(Told(FOLD))
    worker.answered.wait(PATIENCE_S)
    assert (worker.said, worker.compressed) == ([Outcome(FOLD)], [])


@pytest.mark.parametrize(("share", "rest"), [(1 / 16, 15.0), (0.5, 1.0), (2.0, 0.0)])
def test_what_nobody_waits_for_takes_its_share_of_a_processor(
    monkeypatch: pytest.MonkeyPatch, share: float, rest: float
) -> None:
    """After a second of work it rests for the others' share."""
    monkeypatch.setattr(time, "thread_time", iter([5.0, 6.0]).__next__)
    assert Leisure(share).rest_s == pytest.approx(rest)
