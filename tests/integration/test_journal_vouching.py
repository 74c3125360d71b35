"""Where signatures reach, and where they do not: a journal without any is none that is vouched for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from pdp.evidence.archive import archive as archiving
from pdp.evidence.archive.archive import Archive
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.line.chain import line_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.seals import verifying
from pdp.evidence.seals.chain_check import ChainCheck
from pdp.evidence.seals.notary import Notary
from pdp.evidence.seals.sealing import HEAD, Seal, read_seal
from pdp.evidence.seals.signing import KEY, PUBLIC_KEY, load_public_key, make_key
from pdp.evidence.seals.verifying import Verified, verify
from pdp.evidence.trouble import JournalDamagedError
from tests.sealed_journals import NOW, event, keep

FIRST = f"{1:020d}"
SECOND = f"{3:020d}"


def strip(journal: Path) -> None:
    """Remove every key and every seal."""
    for path in (*journal.glob("*.seal"), *journal.glob("signing.*")):
        path.unlink()


def verified(journal: Path) -> Verified:
    """Verify a journal in which nothing is broken."""
    outcome = verify(journal)
    assert isinstance(outcome, Verified), outcome
    return outcome


def words(journal: Path) -> list[str]:
    """Return what is said of the places that are broken."""
    outcome = verify(journal)
    return [] if isinstance(outcome, Verified) else [f"{place.segment}: {place.what}" for place in outcome]


def test_a_journal_without_key_and_seals_is_not_sealed(tmp_path: Path) -> None:
    """Its chain is right, and anybody's; without a record there is nothing to vouch for."""
    keep(tmp_path, *"abc")
    assert verified(tmp_path).unsealed is False
    strip(tmp_path)
    assert verified(tmp_path).unsealed is True
    for segment in segments_of(tmp_path):
        segment.unlink()
    assert verified(tmp_path).unsealed is False


def test_a_journal_that_is_left_its_private_key_alone_is_not_sealed(tmp_path: Path) -> None:
    """The key has made nothing that is there."""
    keep(tmp_path, *"abc")
    secret = (tmp_path / KEY).read_bytes()
    strip(tmp_path)
    (tmp_path / KEY).write_bytes(secret)
    assert verified(tmp_path).unsealed is True


def test_a_stop_at_any_moment_of_the_first_start_leaves_no_broken_journal(tmp_path: Path) -> None:
    """Before the key, behind it, and behind the head; records come after all three."""
    (tmp_path / "lock").touch()
    assert verified(tmp_path).unsealed is False
    make_key(tmp_path)
    assert verified(tmp_path).unsealed is False
    Notary(tmp_path).begin(0, NOW)
    published = load_public_key(tmp_path / PUBLIC_KEY)
    (tmp_path / PUBLIC_KEY).unlink()
    assert published is not None
    assert verified(tmp_path).key == published.fingerprint
    keep(tmp_path, "a")
    assert verified(tmp_path).sealed_until == 1


def test_a_first_start_while_it_is_verified_leaves_no_unsealed_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is neither key nor record when the key is looked for, and both when the records are."""

    def starting(sealed: dict[int, list[tuple[str, Seal]]]) -> ChainCheck:
        keep(tmp_path, "a")
        return ChainCheck(sealed)

    monkeypatch.setattr(verifying, "ChainCheck", starting)
    assert verified(tmp_path).unsealed is False
    assert segments_of(tmp_path) != []


@pytest.mark.parametrize("left", [1, 50, 200])
def test_a_line_that_a_kill_has_cut_off_behind_what_is_sealed_breaks_nothing(tmp_path: Path, left: int) -> None:
    """Its record was never acknowledged; what is sealed must be whole, and what nobody sealed as well."""
    keep(tmp_path, *"abc")
    line, _ = line_of(body_of(event("d")), 4, verified(tmp_path).last_hash)
    segment = tmp_path / f"{SECOND}.jsonl"
    segment.write_bytes(segment.read_bytes() + line[:left])
    assert (verified(tmp_path).records, verified(tmp_path).unsealed) == (3, False)
    segment.write_bytes(segment.read_bytes()[: -left - 5])
    assert f"{SECOND}.jsonl: the line is cut off" in words(tmp_path)


def test_a_cut_off_line_in_an_older_segment_is_found(tmp_path: Path) -> None:
    """Nobody writes there any more."""
    keep(tmp_path, *"abc")
    (tmp_path / f"{FIRST}.jsonl").write_bytes((tmp_path / f"{FIRST}.jsonl").read_bytes()[:-1])
    assert f"{FIRST}.jsonl: the line is cut off" in words(tmp_path)


def test_the_head_follows_a_seal_also_where_no_record_came_since(tmp_path: Path) -> None:
    """The head is signed at the start, the seal made behind it: whoever takes that seal away is found."""
    keep(tmp_path, *"abc")
    (tmp_path / f"{FIRST}.seal").unlink()
    keep(tmp_path)
    (tmp_path / f"{FIRST}.seal").unlink()
    assert words(tmp_path) == [f"{HEAD}: the seals from record 1 on are missing that it follows"]


def test_the_head_is_signed_with_each_seal(tmp_path: Path) -> None:
    """Also where the next segment cannot be sealed."""
    keep(tmp_path, *"abcde")
    for segment in (FIRST, SECOND):
        (tmp_path / f"{segment}.seal").unlink()
    archive = Archive(compressed=False, wall=lambda: NOW)
    archive.resume(tmp_path, 5)
    (tmp_path / f"{SECOND}.seal").mkdir()
    archive.close()
    (tmp_path / f"{SECOND}.seal").rmdir()
    (tmp_path / f"{FIRST}.seal").unlink()
    assert words(tmp_path) == [f"{HEAD}: the seals from record 1 on are missing that it follows"]


def test_the_head_is_signed_while_no_segment_can_be_sealed(tmp_path: Path) -> None:
    """What is younger is vouched for all the same."""
    keep(tmp_path, *"abcd")
    for name in (HEAD, f"{FIRST}.seal", f"{SECOND}.seal"):
        (tmp_path / name).unlink(missing_ok=True)
    archive = Archive(compressed=False, wall=lambda: NOW)
    archive.resume(tmp_path, 3)
    (tmp_path / f"{FIRST}.seal").mkdir()
    archive.written((), 4)
    archive.close()
    (tmp_path / f"{FIRST}.seal").rmdir()
    assert verified(tmp_path).sealed_until == 4


def test_the_head_is_signed_between_segments_that_are_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that was not compressed before may take an hour."""
    keep(tmp_path, *"abcde")
    (tmp_path / HEAD).unlink()
    archive, heads, compressed = Archive(wall=lambda: NOW), list[int](), Event()

    def compress(_: Path, __: Callable[[], bool]) -> bool:
        archive.written((), 5)
        signed = read_seal(tmp_path / HEAD)
        heads.append(0 if signed is None else signed.seal.last)
        if len(heads) > 1:
            compressed.set()
        return True

    monkeypatch.setattr(archiving, "compress", compress)
    archive.resume(tmp_path, 4)
    archive.start()
    compressed.wait()
    archive.close()
    assert heads[:2] == [4, 5]


def test_a_start_refuses_a_journal_whose_youngest_records_were_forged(tmp_path: Path) -> None:
    """With a right chain, behind the last segment's seal: a new head would vouch for them."""
    keep(tmp_path, *"abc")
    segment = tmp_path / f"{SECOND}.jsonl"
    line, _ = line_of(body_of(event("z")), 3, json.loads(segment.read_bytes())["prev"])
    segment.write_bytes(line)
    with pytest.raises(JournalDamagedError, match=r"record 3 is not the one that `head.seal` vouches for"):
        keep(tmp_path, "d")
    assert words(tmp_path) != []


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(forged(path))])
def test_a_start_without_a_head_of_its_key_says_what_cannot_be_told(
    tmp_path: Path, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Also of a journal that has no full segment: its key was published behind its head."""
    keep(tmp_path, "a")
    spoil(tmp_path / HEAD)
    keep(tmp_path, "b")
    assert "`head.seal` is missing or forged: whether the youngest records were cut off or altered" in caplog.text


def forged(seal: Path) -> bytes:
    """Return a seal that says another thing than was signed."""
    return seal.read_bytes().replace(b'"last":1', b'"last":0')


def test_a_key_that_is_made_for_records_there_are_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may have removed the one that sealed them."""
    keep(tmp_path, "a")
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    strip(tmp_path)
    keep(tmp_path)
    assert "the journal had records and no seal: they are sealed as they stand" in caplog.text
