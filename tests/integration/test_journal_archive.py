"""Full segments are compressed and removed, and nothing that counts is lost by it, whenever a crash comes."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import pytest

from pdp.core.model import Duration, Instant
from pdp.core.snapshot import Use
from pdp.evidence.archive.compressing import begun_of, compress, forget_begun
from pdp.evidence.archive.retention import Kept, Retention, removable
from pdp.evidence.index.offline import searching
from pdp.evidence.journal.journal_end import find_end
from pdp.evidence.journal.journal_reader import read, tail
from pdp.evidence.journal.segments import read_segment, segments_of
from pdp.evidence.seals.notary import Notary
from pdp.evidence.seals.verifying import Broken, Verified, verify
from pdp.evidence.session_record import session_record
from pdp.evidence.trouble import JournalDamagedError
from pdp.evidence.usage.usage import restore_uses
from tests.sealed_journals import NOW, keep, use
from tests.unit.core_story import session

FIRST, SECOND, THIRD = f"{1:020d}", f"{3:020d}", f"{5:020d}"
LITTLE = Retention(keep_bytes=1)
"""Removes what it may."""


def names(directory: Path) -> list[object]:
    """Return the names of all events on disk."""
    return [entry.record()["name"] for entry in read(directory)]


def files(directory: Path) -> list[str]:
    """Return the segments' files, and what lies about with them."""
    return sorted(path.name for path in directory.glob("*.jsonl*"))


def intact(directory: Path) -> bool:
    """Return whether verification finds nothing."""
    return isinstance(verify(directory), Verified)


def broken(directory: Path) -> list[Broken]:
    """Return what verification finds."""
    outcome = verify(directory)
    return [] if isinstance(outcome, Verified) else outcome


def compressed(directory: Path, *events: str) -> None:
    """Write a journal, and wait until all but its last segment are compressed."""
    keep(directory, *events, compressed=True, until=lambda: all_but_last_compressed(directory))


def all_but_last_compressed(directory: Path) -> bool:
    """Return whether that is so."""
    return all(path.suffix == ".gz" for path in segments_of(directory)[:-1])


def test_sealed_segments_are_compressed_and_read_as_before(tmp_path: Path) -> None:
    """The one that is written to is not."""
    compressed(tmp_path, *"abcde")
    assert files(tmp_path) == [f"{FIRST}.jsonl.gz", f"{SECOND}.jsonl.gz", f"{THIRD}.jsonl"]
    assert names(tmp_path) == list("abcde")
    assert [entry.sequence for entry in read(tmp_path, 3)] == [4, 5]
    assert intact(tmp_path)


def test_a_segment_has_one_compressed_form(tmp_path: Path) -> None:
    """Neither time nor name are in it."""
    keep(tmp_path / "j", *"abc")
    shutil.copytree(tmp_path / "j", tmp_path / "k")
    for directory in (tmp_path / "j", tmp_path / "k"):
        assert compress(segments_of(directory)[0], lambda: False)
    one, other = (directory / f"{FIRST}.jsonl.gz" for directory in (tmp_path / "j", tmp_path / "k"))
    assert one.read_bytes() == other.read_bytes()


def test_a_follower_is_not_disturbed(tmp_path: Path) -> None:
    """Neither by compression behind its back nor by removal before it."""
    keep(tmp_path, *"abcde")
    following = tail(tmp_path, follow=True, poll_s=0.0)
    seen = [next(following).sequence]
    compress(segments_of(tmp_path)[0], lambda: False)
    seen += [next(following).sequence for _ in range(4)]
    keep(tmp_path, *"fgh", compressed=True, retention=LITTLE, until=lambda: len(segments_of(tmp_path)) <= 2)
    seen.append(next(following).sequence)
    assert seen[:5] == [1, 2, 3, 4, 5]
    assert seen[5] > 5


def test_nothing_is_added_to_a_segment_that_is_sealed(tmp_path: Path) -> None:
    """A stop may come between a seal and the next segment."""
    keep(tmp_path, *"ab")
    keep(tmp_path, "c")
    assert files(tmp_path) == [f"{FIRST}.jsonl", f"{SECOND}.jsonl"]
    assert intact(tmp_path)


def test_uses_are_restored_from_compressed_segments(tmp_path: Path) -> None:
    """With checkpoints and without, and each counted once over restarts."""
    for count in range(1, 5):
        keep(tmp_path, use(), compressed=True, until=lambda: all_but_last_compressed(tmp_path))
        assert restore_uses(tmp_path).session_uses == {"s-0": Use(count, Instant(50))}
    for checkpoint in tmp_path.glob("*.uses"):
        checkpoint.unlink()
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(4, Instant(50))}


def test_a_session_is_told_from_compressed_segments(tmp_path: Path) -> None:
    """As from plain ones."""
    keep(tmp_path, use(), use(), use(), compressed=True, until=lambda: all_but_last_compressed(tmp_path))
    with searching(tmp_path) as search:
        told = session_record(search, session(0), 9)
    assert (told.allowed, len(told.decisions)) == (3, 3)


def test_a_torn_line_after_a_compressed_segment_is_set_aside(tmp_path: Path) -> None:
    """And the chain goes on from the compressed one."""
    compressed(tmp_path, *"abcd")
    (tmp_path / f"{THIRD}.jsonl").write_bytes(b'{"v":1,"seq":5,')
    end, repair = find_end(tmp_path)
    assert (end.sequence, repair is not None) == (4, True)
    assert (tmp_path / f"{THIRD}.jsonl.torn").read_bytes() == b'{"v":1,"seq":5,'
    compressed(tmp_path, "e")
    assert names(tmp_path) == list("abcde")
    assert intact(tmp_path)


@pytest.mark.parametrize("left", ["aside", "both", "neither seal nor checkpoint"])
def test_what_a_crash_left_half_done_is_done_by_the_next_start(tmp_path: Path, left: str) -> None:
    """Whichever step it came between."""
    keep(tmp_path, *"abcde")
    whole = gzip.compress(read_segment(tmp_path / f"{FIRST}.jsonl"))
    if left == "aside":
        (tmp_path / f"{FIRST}.jsonl.gz.new").write_bytes(whole[:20])
    if left == "both":
        (tmp_path / f"{FIRST}.jsonl.gz").write_bytes(whole)
    if left == "neither seal nor checkpoint":
        (tmp_path / f"{SECOND}.seal").unlink()
        (tmp_path / f"{SECOND}.uses").unlink()
    assert names(tmp_path) == list("abcde")
    compressed(tmp_path)
    assert files(tmp_path) == [f"{FIRST}.jsonl.gz", f"{SECOND}.jsonl.gz", f"{THIRD}.jsonl"]
    assert names(tmp_path) == list("abcde")
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert verified.seals == 2


@pytest.mark.parametrize("size", [0, 300])
def test_a_plain_file_beside_a_compressed_segment_takes_nothing_away(tmp_path: Path, size: int) -> None:
    """As an interrupted `gunzip -k` leaves it: the compressed one counts, and the other is set aside."""
    compressed(tmp_path, *"abcde")
    part = read_segment(tmp_path / f"{FIRST}.jsonl.gz")[:size]
    (tmp_path / f"{FIRST}.jsonl").write_bytes(part)
    assert names(tmp_path) == list("abcde")
    compressed(tmp_path, "f")
    assert names(tmp_path) == list("abcdef")
    assert f"{FIRST}.jsonl.gz" in files(tmp_path)
    assert f"{FIRST}.jsonl" not in files(tmp_path)
    assert (tmp_path / f"{FIRST}.jsonl.torn").read_bytes() == part
    assert intact(tmp_path)


def test_a_compressed_file_that_is_not_what_was_sealed_takes_nothing_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside a plain one that is: it is set aside, and the log says so."""
    keep(tmp_path, *"abcde")
    (tmp_path / f"{FIRST}.jsonl.gz").write_bytes(b"none")
    (tmp_path / f"{FIRST}.jsonl.gz.torn").write_bytes(b"of an earlier time")
    compressed(tmp_path, "f")
    assert (tmp_path / f"{FIRST}.jsonl.gz.torn.2").read_bytes() == b"none"
    assert (tmp_path / f"{FIRST}.jsonl.gz.torn").read_bytes() == b"of an earlier time"
    assert f"`{FIRST}.jsonl.gz` is not what was sealed" in caplog.text
    assert names(tmp_path) == list("abcdef")
    assert intact(tmp_path)


def test_two_forms_of_which_neither_is_what_was_sealed_both_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody but a person can tell what to make of them."""
    keep(tmp_path, *"abcde")
    (tmp_path / f"{FIRST}.jsonl").write_bytes(b"neither\n")
    (tmp_path / f"{FIRST}.jsonl.gz").write_bytes(gzip.compress(b"this\n"))
    keep(tmp_path, until=lambda: "neither is what was sealed" in caplog.text)
    assert {f"{FIRST}.jsonl", f"{FIRST}.jsonl.gz"} < set(files(tmp_path))


def test_told_to_stop_compression_leaves_the_segment_as_it_is(tmp_path: Path) -> None:
    """And nothing beside it."""
    keep(tmp_path, *"abc")
    before = files(tmp_path)
    assert not compress(tmp_path / f"{FIRST}.jsonl", lambda: True)
    assert before == files(tmp_path)


def test_processes_that_compress_the_same_segment_do_not_disturb_each_other(tmp_path: Path) -> None:
    """As where one outlives its sidecar by a moment; what it had begun, or one that was killed, does not stay."""
    keep(tmp_path, *"abc")
    before, segment = read_segment(tmp_path / f"{FIRST}.jsonl"), tmp_path / f"{FIRST}.jsonl"
    killed, other = tmp_path / f"{FIRST}.jsonl.gz.1.new", tmp_path / f"{FIRST}.jsonl.gz.2.new"
    killed.write_bytes(b"half")

    def begins() -> bool:
        other.write_bytes(b"half")
        return False

    assert compress(segment, begins)
    assert before == read_segment(tmp_path / f"{FIRST}.jsonl.gz")
    assert (killed.exists(), other.exists()) == (False, True)
    compressed(tmp_path)
    assert not other.exists()


@pytest.mark.parametrize("name", ["mine.jsonl.gz.new", f"{FIRST}.jsonl.gz.mine.new", f"{FIRST}.jsonl.gz.torn.new"])
def test_a_file_that_no_compression_has_begun_stays(tmp_path: Path, name: str) -> None:
    """As one that an operator has put there."""
    keep(tmp_path, *"abc")
    (tmp_path / name).write_bytes(b"mine")
    compressed(tmp_path, "d")
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_compression_whose_file_was_taken_away_is_not_done(tmp_path: Path) -> None:
    """The next sidecar has cleaned up: the segment stays as it is."""
    keep(tmp_path, *"abc")

    def is_taken_away() -> bool:
        forget_begun(begun_of(tmp_path))
        return False

    with pytest.raises(FileNotFoundError):
        compress(tmp_path / f"{FIRST}.jsonl", is_taken_away)
    assert files(tmp_path) == [f"{FIRST}.jsonl", f"{SECOND}.jsonl"]


def test_the_oldest_segments_go_when_all_are_too_large(tmp_path: Path) -> None:
    """But for the youngest sealed one; seals and uses stay."""
    keep(tmp_path, *"abcdefg", retention=LITTLE, until=lambda: len(segments_of(tmp_path)) == 2)
    assert files(tmp_path) == [f"{THIRD}.jsonl", f"{7:020d}.jsonl"]
    assert names(tmp_path) == list("efg")
    assert len([*tmp_path.glob("*.seal")]) == 3 + 2
    assert len([*tmp_path.glob("*.uses")]) == 3
    assert intact(tmp_path)


def test_segments_go_when_their_last_record_is_too_old(tmp_path: Path) -> None:
    """At that age, not before."""
    age = Duration(1_000)
    keep(tmp_path, *"abcdefg", retention=Retention(keep_for=age), now=NOW + age - 1)
    assert len(segments_of(tmp_path)) == 4
    keep(tmp_path, retention=Retention(keep_for=age), now=NOW + age, until=lambda: len(segments_of(tmp_path)) == 2)
    assert names(tmp_path) == list("efg")


def test_uses_of_removed_segments_still_count(tmp_path: Path) -> None:
    """Limits and idle timeouts outlive the records."""
    keep(tmp_path, *[use()] * 6, retention=LITTLE, until=lambda: len(segments_of(tmp_path)) <= 2)
    assert len(list(read(tmp_path))) < 6
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(6, Instant(50))}
    keep(tmp_path, use(), retention=LITTLE)
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(7, Instant(50))}


def test_uses_that_are_gone_with_their_segment_stop_the_start(tmp_path: Path) -> None:
    """They would be forgotten."""
    keep(tmp_path, *"abcdefg", retention=LITTLE, until=lambda: len(segments_of(tmp_path)) == 2)
    (tmp_path / f"{SECOND}.uses").unlink()
    with pytest.raises(JournalDamagedError, match=rf"the segment of `{SECOND}\.seal` is gone, and its uses"):
        restore_uses(tmp_path)


def edit_uses(directory: Path, segment: str) -> None:
    """Say that nothing was used in a segment."""
    checkpoint = directory / f"{segment}.uses"
    lines = checkpoint.read_bytes().splitlines(keepends=True)
    assert len(lines) > 1
    checkpoint.write_bytes(lines[-1])


def test_uses_that_were_edited_are_made_again(tmp_path: Path) -> None:
    """A limit that is used up is not given back; and verification names the file."""
    keep(tmp_path, *[use()] * 6)
    whole = (tmp_path / f"{FIRST}.uses").read_bytes()
    edit_uses(tmp_path, FIRST)
    assert [(place.segment, place.sequence) for place in broken(tmp_path)] == [(f"{FIRST}.uses", 1)]
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(6, Instant(50))}
    assert (tmp_path / f"{FIRST}.uses").read_bytes() == whole
    assert intact(tmp_path)


def test_uses_that_were_edited_with_their_seal_are_made_again(tmp_path: Path) -> None:
    """A seal that the key has not made vouches for nothing."""
    keep(tmp_path, *[use()] * 6)
    before = hashlib.sha256((tmp_path / f"{FIRST}.uses").read_bytes()).hexdigest()
    edit_uses(tmp_path, FIRST)
    after = hashlib.sha256((tmp_path / f"{FIRST}.uses").read_bytes()).hexdigest()
    seal = tmp_path / f"{FIRST}.seal"
    seal.write_bytes(seal.read_bytes().replace(before.encode(), after.encode()))
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(6, Instant(50))}


def test_uses_that_were_edited_and_whose_seal_is_gone_are_made_again(tmp_path: Path) -> None:
    """Where there is a key, nobody vouches for them."""
    keep(tmp_path, *[use()] * 6)
    edit_uses(tmp_path, FIRST)
    (tmp_path / f"{FIRST}.seal").unlink()
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(6, Instant(50))}


def test_edited_uses_of_a_removed_segment_stop_the_start(tmp_path: Path) -> None:
    """There is nothing to make them from; verification names them, and those that are gone."""
    keep(tmp_path, *[use()] * 9, retention=LITTLE, until=lambda: len(segments_of(tmp_path)) <= 2)
    edit_uses(tmp_path, FIRST)
    (tmp_path / f"{SECOND}.uses").unlink()
    assert [place.segment for place in broken(tmp_path)] == [f"{FIRST}.uses", f"{SECOND}.uses"]
    with pytest.raises(JournalDamagedError, match=rf"the segment of `{FIRST}\.seal` is gone, and its uses"):
        keep(tmp_path)


def test_a_segment_is_sealed_with_the_uses_of_all_its_records(tmp_path: Path) -> None:
    """Also where a crash left those of only some beside it."""
    keep(tmp_path, *[use()] * 3, "a")
    (tmp_path / f"{SECOND}.seal").unlink()
    checkpoint = tmp_path / f"{SECOND}.uses"
    checkpoint.write_bytes(checkpoint.read_bytes().splitlines()[-1].replace(b'"last":3', b'"last":2'))
    keep(tmp_path, use())
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(4, Instant(50))}
    assert intact(tmp_path)


def test_a_segment_whose_uses_cannot_be_written_is_sealed_later(tmp_path: Path) -> None:
    """The seal vouches for them."""
    keep(tmp_path, *[use()] * 3, "a")
    (tmp_path / f"{SECOND}.seal").unlink()
    (tmp_path / f"{SECOND}.uses").unlink()
    (tmp_path / f"{SECOND}.uses").mkdir()
    keep(tmp_path)
    assert not (tmp_path / f"{SECOND}.seal").exists()
    (tmp_path / f"{SECOND}.uses").rmdir()
    keep(tmp_path)
    assert intact(tmp_path)


def test_a_segment_does_not_go_without_its_uses(tmp_path: Path) -> None:
    """A checkpoint that is missing is made first."""
    keep(tmp_path, *[use()] * 6)
    for checkpoint in tmp_path.glob("*.uses"):
        checkpoint.write_bytes(b"")
    keep(tmp_path, retention=LITTLE, until=lambda: len(segments_of(tmp_path)) <= 2)
    assert restore_uses(tmp_path).session_uses == {"s-0": Use(6, Instant(50))}


def test_what_somebody_still_needs_stays(tmp_path: Path) -> None:
    """As an exporter that has not got it."""
    asked = list[int]()

    def may_remove(sequence: int) -> bool:
        asked.append(sequence)
        return sequence <= 2

    keep(tmp_path, *"abcdefg", retention=LITTLE, may_remove=may_remove, until=lambda: 4 in asked)
    assert names(tmp_path) == list("cdefg")
    assert intact(tmp_path)


def test_a_removal_that_a_crash_cut_short_is_finished(tmp_path: Path) -> None:
    """It was signed, so it was meant."""
    keep(tmp_path, *"abcdefg")
    Notary(tmp_path).sign_removal(tmp_path / f"{SECOND}.jsonl", Instant(NOW))
    (tmp_path / f"{FIRST}.jsonl").unlink()
    assert intact(tmp_path)
    endless_but_for_that = Retention(keep_bytes=1_000_000)
    keep(tmp_path, retention=endless_but_for_that, until=lambda: len(segments_of(tmp_path)) == 2)
    assert names(tmp_path) == list("efg")
    assert intact(tmp_path)


def kept(number: int, size: int = 10) -> Kept:
    """Return a sealed segment that ended at so many nanoseconds."""
    return Kept(Path(f"{number}.jsonl"), number, Instant(number), size)


@pytest.mark.parametrize(
    ("retention", "now", "gone"),
    [
        (Retention(), 100, []),
        (Retention(keep_for=Duration(8)), 10, [1, 2]),
        (Retention(keep_for=Duration(8)), 100, [1, 2, 3]),
        (Retention(keep_bytes=45), 10, []),
        (Retention(keep_bytes=44), 10, [1]),
        (Retention(keep_bytes=25), 10, [1, 2]),
        (Retention(keep_bytes=44, keep_for=Duration(8)), 10, [1, 2]),
        (Retention(keep_bytes=0), 10, [1, 2, 3]),
    ],
)
def test_the_oldest_goes_first_and_the_youngest_never(retention: Retention, now: int, gone: list[int]) -> None:
    """Four segments of ten bytes, and five bytes that are not sealed."""
    sealed = [kept(number) for number in range(1, 5)]
    removed = removable(sealed, 5, retention, Instant(now), lambda _: True)
    assert gone == [segment.last for segment in removed]
