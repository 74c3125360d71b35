"""What the seals vouch for: every way to change a journal is found, and named by its place."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pdp.evidence.archive.retention import Retention
from pdp.evidence.journal.disk import LocalDisk
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import ChainEnd, segments_of
from pdp.evidence.line.chain import line_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.seals.notary import Notary
from pdp.evidence.seals.sealing import HEAD, read_seal, write_seal
from pdp.evidence.seals.signing import KEY, PUBLIC_KEY, load_key, load_public_key, make_key
from pdp.evidence.seals.verifying import Verified, verify
from pdp.evidence.trouble import JournalDamagedError, SigningKeyError
from tests.sealed_journals import NOW, event, keep

FIRST, SECOND, THIRD = f"{1:020d}", f"{3:020d}", f"{5:020d}"
DOCS = Path(__file__).parents[2] / "docs" / "evidence.md"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return a journal of five records: two sealed segments, and one that goes on."""
    keep(tmp_path / "j", *"abcde")
    return tmp_path / "j"


def found(journal: Path) -> list[tuple[str, int, int]]:
    """Return the places that are broken: file, line and sequence."""
    outcome = verify(journal)
    return [] if isinstance(outcome, Verified) else [(place.segment, place.line, place.sequence) for place in outcome]


def words(journal: Path) -> str:
    """Return what is said of the places that are broken."""
    outcome = verify(journal)
    return "" if isinstance(outcome, Verified) else "\n".join(place.what for place in outcome)


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file."""
    path.write_bytes(change(path.read_bytes()))


def forge(journal: Path, name: str, first: int) -> None:
    """Rewrite a journal from this segment on, with a chain that is right."""
    rewritten = [path for path in segments_of(journal) if int(path.stem) >= first]
    previous, sequence = json.loads(rewritten[0].read_bytes().splitlines()[0])["prev"], first
    for path in rewritten:
        lines = []
        for _ in range(path.read_bytes().count(b"\n")):
            line, previous = line_of(body_of(event(name)), sequence, previous)
            lines.append(line)
            sequence += 1
        path.write_bytes(b"".join(lines))


def test_a_whole_journal_is_vouched_for_to_its_end(journal: Path) -> None:
    """Two seals and the head, by the key that is published."""
    verified, key = verify(journal), load_key(journal)
    assert key is not None
    assert isinstance(verified, Verified)
    assert (verified.seals, verified.sealed_until, verified.key) == (2, 5, key.public.fingerprint)


def test_the_key_is_its_owners_alone(journal: Path) -> None:
    """As is all that the journal has."""
    assert {oct(path.stat().st_mode & 0o777) for path in journal.iterdir()} == {"0o600"}


def test_a_flipped_bit_is_found_at_its_line(journal: Path) -> None:
    """In a record."""
    edit(journal / f"{SECOND}.jsonl", lambda data: data.replace(b'"name":"d"', b'"name":"e"'))
    assert found(journal) == [(f"{SECOND}.jsonl", 2, 4)]


def test_a_removed_record_is_found_behind_its_place(journal: Path) -> None:
    """Inside a segment."""
    edit(journal / f"{FIRST}.jsonl", lambda data: b"".join(data.splitlines(keepends=True)[1:]))
    assert (f"{FIRST}.jsonl", 1, 2) in found(journal)


def test_a_swapped_pair_is_found(journal: Path) -> None:
    """Both of them."""
    edit(journal / f"{SECOND}.jsonl", lambda data: b"".join(reversed(data.splitlines(keepends=True))))
    assert [place for place in found(journal) if place[0] == f"{SECOND}.jsonl"][:2] == [
        (f"{SECOND}.jsonl", 1, 4),
        (f"{SECOND}.jsonl", 2, 3),
    ]


def test_a_tail_cut_inside_a_line_is_found(journal: Path) -> None:
    """At the line, and at the head that knows its record."""
    edit(journal / f"{THIRD}.jsonl", lambda data: data[:-10])
    assert found(journal) == [(f"{THIRD}.jsonl", 1, 0), (HEAD, 1, 5)]


def test_a_tail_cut_at_the_end_of_a_line_is_found(journal: Path) -> None:
    """The chain alone could not tell."""
    (journal / f"{THIRD}.jsonl").unlink()
    edit(journal / f"{SECOND}.jsonl", lambda data: data.splitlines(keepends=True)[0])
    assert found(journal) == [(HEAD, 1, 5)]
    assert "records 4 to 5 are missing at the journal's end" in words(journal)


@pytest.mark.parametrize(("segment", "place"), [(FIRST, 3), (SECOND, 5)])
def test_a_removed_segment_is_found(journal: Path, segment: str, place: int) -> None:
    """Also the first, which retention did not remove."""
    (journal / f"{segment}.jsonl").unlink()
    assert found(journal) == [(f"{place:020d}.jsonl", 1, place)]


def test_everything_removed_is_found(journal: Path) -> None:
    """Nothing left is not the same as nothing written."""
    for segment in segments_of(journal):
        segment.unlink()
    assert found(journal) == [(HEAD, 1, 5)]


def test_a_forged_segment_is_found_by_its_seal(journal: Path) -> None:
    """Rewritten from there to the end, with a right chain: every seal from there on disagrees."""
    forge(journal, "z", 3)
    assert found(journal) == [(f"{SECOND}.jsonl", 2, 4), (f"{THIRD}.jsonl", 1, 5)]
    assert f"`{SECOND}.seal` has another hash, so records 3 to 4 are forged" in words(journal)


def test_a_forged_seal_is_found(journal: Path) -> None:
    """Made to fit a forged segment, without the key."""
    edit(journal / f"{SECOND}.seal", lambda line: line.replace(b'"records":2', b'"records":3'))
    assert found(journal) == [(f"{SECOND}.seal", 1, 4)]
    assert "its signature is not the key's" in words(journal)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff" * 300, b'{"v":1,"signature":"' + b"0" * 128 + b'"}\n'])
def test_what_is_no_seal_is_found(journal: Path, content: bytes) -> None:
    """Whatever it is."""
    (journal / f"{SECOND}.seal").write_bytes(content)
    assert found(journal) == [(f"{SECOND}.seal", 1, 0)]


def test_a_seal_of_another_key_is_found(journal: Path) -> None:
    """Even one that says the right thing."""
    (journal.parent / "other").mkdir()
    signed, other = read_seal(journal / HEAD), make_key(journal.parent / "other")
    assert signed is not None
    write_seal(journal / HEAD, signed.seal, other)
    assert "its signature is not the key's" in words(journal)


def test_a_trusted_key_finds_a_journal_forged_with_another(journal: Path) -> None:
    """Who can write everything can sign everything, but not with the key an auditor has noted."""
    trusted = load_public_key(journal / PUBLIC_KEY)
    shutil.rmtree(journal)
    keep(journal, *"abcdz")
    assert found(journal) == []
    outcome = verify(journal, trusted)
    assert isinstance(outcome, list)
    assert {place.segment for place in outcome} == {HEAD, f"{FIRST}.seal", f"{SECOND}.seal"}
    assert all("the seal of another key" in place.what for place in outcome)


@pytest.mark.parametrize("first", [1, 3])
def test_missing_seals_before_the_head_are_found(journal: Path, first: int) -> None:
    """The youngest, or all of them: the head says which it follows."""
    for path in sorted(journal.glob("0*.seal")):
        if int(path.name.partition(".")[0]) >= first:
            path.unlink()
    assert f"the seals from record {first} on are missing that it follows" in words(journal)


def test_a_missing_seal_between_others_is_found(journal: Path) -> None:
    """At the one behind it; and no start makes it again."""
    (journal / f"{FIRST}.seal").unlink()
    keep(journal, "f")
    assert found(journal) == [(f"{SECOND}.seal", 1, 4)]
    assert "the seals of records 1 to 2 are missing" in words(journal)


def test_a_seal_in_the_place_of_another_is_found(journal: Path) -> None:
    """It says whose it is, and of what kind."""
    shutil.copy(journal / HEAD, journal / f"{SECOND}.seal")
    assert found(journal) == [(f"{SECOND}.seal", 1, 5)]
    assert "it is a seal of kind `head`, not `segment`" in words(journal)


@pytest.mark.parametrize("name", [HEAD, PUBLIC_KEY])
def test_a_missing_head_or_key_is_found(journal: Path, name: str) -> None:
    """Without it the end is anybody's."""
    (journal / name).unlink()
    assert found(journal) == [(name, 1, 0)]


def test_a_start_refuses_a_journal_whose_end_was_cut_off(journal: Path) -> None:
    """A new head would hide it."""
    edit(journal / f"{THIRD}.jsonl", lambda _: b"")
    with pytest.raises(JournalDamagedError, match="record 5 was sealed, and the journal ends at record 4"):
        keep(journal, "f")


def test_a_start_refuses_to_go_on_without_its_key(journal: Path) -> None:
    """A new one would make the old seals anybody's."""
    (journal / KEY).unlink()
    with pytest.raises(SigningKeyError, match=r"`.*signing.key` is missing, and the journal has seals"):
        keep(journal, "f")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o640), "may be read by others"),
        (lambda path: path.write_text("no key"), "is not an Ed25519 key"),
        (lambda path: path.with_name(PUBLIC_KEY).write_text("no key"), "is not the public part"),
    ],
)
def test_a_start_refuses_a_key_that_is_no_good(journal: Path, spoil: Callable[[Path], object], words: str) -> None:
    """Open to others, no key, or not that of its public part."""
    spoil(journal / KEY)
    with pytest.raises(SigningKeyError, match=words):
        keep(journal, "f")


def test_a_start_refuses_the_key_of_another_journal(journal: Path) -> None:
    """Its public part says so."""
    make_key(journal)
    with pytest.raises(SigningKeyError, match=r"`signing.pub` is not the public part of `signing.key`"):
        keep(journal, "f")


def test_a_journal_from_before_there_were_seals_is_sealed_by_the_next_start(tmp_path: Path) -> None:
    """All of it."""
    end = ChainEnd()
    for name in "abc":
        log = SegmentLog(tmp_path, LocalDisk(), 1, ChainEnd(end.sequence, end.hash))
        log.write([body_of(event(name))])
        log.sync()
        end = log.synced
        log.close()
    assert isinstance(verify(tmp_path), Verified)
    keep(tmp_path)
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert (verified.seals, verified.sealed_until) == (2, 3)


def test_seals_go_on_over_restarts_and_compression(tmp_path: Path) -> None:
    """One chain of them, and of records."""
    for names in ("abc", "", "de", "f"):
        keep(tmp_path, *names, compressed=True, until=lambda: bool([*tmp_path.glob("*.gz")]))
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert (verified.records, verified.seals, verified.sealed_until) == (6, 3, 6)


def test_a_segment_that_does_not_decompress_is_found(tmp_path: Path) -> None:
    """At the line up to which it does."""
    keep(tmp_path, *"abcde", compressed=True, until=lambda: len([*tmp_path.glob("*.gz")]) == 2)
    edit(tmp_path / f"{SECOND}.jsonl.gz", lambda data: data[:-20])
    assert f"{SECOND}.jsonl.gz" in {file for file, _, _ in found(tmp_path)}
    assert "cannot be decompressed" in words(tmp_path)


@pytest.mark.parametrize("place", [4, 9, 16, 28, 35, -1])
def test_a_flipped_bit_of_a_compressed_segment_is_found(tmp_path: Path, place: int) -> None:
    """Also where it would decompress to the same lines: in the header's time, system, lengths and checksum."""
    keep(tmp_path, *"abcde", compressed=True, until=lambda: len([*tmp_path.glob("*.gz")]) == 2)
    path = tmp_path / f"{FIRST}.jsonl.gz"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert "cannot be decompressed" in words(tmp_path)


def test_a_forged_compressed_segment_is_found(tmp_path: Path) -> None:
    """As a plain one."""
    keep(tmp_path, *"abcde", compressed=True, until=lambda: len([*tmp_path.glob("*.gz")]) == 2)
    path = tmp_path / f"{FIRST}.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"name":"b"', b'"name":"z"')))
    assert found(tmp_path) == [(f"{FIRST}.jsonl.gz", 2, 2)]


def test_what_retention_removed_is_no_damage_and_what_else_is_gone_is(tmp_path: Path) -> None:
    """A seal says how far it went."""
    keep(tmp_path, *"abcdefg", retention=Retention(keep_bytes=1_500), until=lambda: len(segments_of(tmp_path)) <= 3)
    verified = verify(tmp_path)
    assert isinstance(verified, Verified)
    assert verified.removed_until == verified.first_sequence - 1 > 0
    segments_of(tmp_path)[0].unlink()
    assert "no seal removed them" in words(tmp_path)


def test_what_retention_removes_while_it_is_verified_is_no_damage(tmp_path: Path) -> None:
    """A segment is gone between listing and reading, as the link without a target is here; a seal says it may be."""
    keep(tmp_path, *"abcdefg")
    for gone in (SECOND, THIRD):
        (tmp_path / f"{gone}.jsonl").unlink()
        (tmp_path / f"{gone}.jsonl").symlink_to("gone")
    assert found(tmp_path) == [(f"{7:020d}.jsonl", 1, 7)]
    assert "records 3 to 6 are missing before it" in words(tmp_path)
    Notary(tmp_path).sign_removal(tmp_path / f"{THIRD}.jsonl", NOW)
    assert found(tmp_path) == []


def test_the_youngest_segment_that_goes_while_it_is_verified_is_missed(journal: Path) -> None:
    """With a key and without."""
    (journal / f"{THIRD}.jsonl").unlink()
    (journal / f"{THIRD}.jsonl").symlink_to("gone")
    assert found(journal) == [(f"{THIRD}.jsonl", 1, 5), (HEAD, 1, 5)]
    for path in (*journal.glob("*.seal"), *journal.glob("signing.*")):
        path.unlink()
    assert found(journal) == [(f"{THIRD}.jsonl", 1, 5)]


@pytest.mark.parametrize("name", ["1.jsonl", f"{0:020d}.jsonl", "\u0661" * 20 + ".jsonl", "1.jsonl.gz", "copy.jsonl"])
def test_a_file_that_looks_like_a_segment_is_found_and_not_read(journal: Path, name: str) -> None:
    """It would shadow one, or stand before all."""
    (journal / name).write_bytes(b"forged\n")
    assert found(journal) == [(name, 1, 0)]
    assert "it is no segment" in words(journal)
    keep(journal, "f")
    assert found(journal) == [(name, 1, 0)]


@pytest.mark.parametrize("first", [4, 99])
def test_an_empty_segment_that_nobody_began_is_found(journal: Path, first: int) -> None:
    """Its name is not what comes next; a start does not go on there."""
    (journal / f"{first:020d}.jsonl").touch()
    assert found(journal) == [(f"{first:020d}.jsonl", 1, 0)]
    if first > 5:
        with pytest.raises(JournalDamagedError, match=r"has no record, and the next one is 6: move it away"):
            keep(journal, "f")


def test_an_empty_segment_that_a_crash_left_is_none(journal: Path) -> None:
    """The next record would be in it."""
    (journal / f"{6:020d}.jsonl").touch()
    assert found(journal) == []


def test_a_compressed_file_beside_a_plain_one_is_found_if_it_says_another_thing(journal: Path) -> None:
    """If it says the same, a crash came between."""
    plain = journal / f"{FIRST}.jsonl"
    beside = journal / f"{FIRST}.jsonl.gz"
    beside.write_bytes(gzip.compress(plain.read_bytes()))
    assert found(journal) == []
    plain.write_bytes(plain.read_bytes()[:300])
    assert found(journal) == [(f"{FIRST}.jsonl", 1, 0)]
    assert f"it stands beside `{FIRST}.jsonl.gz` and says another thing" in words(journal)


def test_a_foreign_seal_says_nothing_but_a_key(journal: Path) -> None:
    """What anybody may have written is not repeated."""
    seal = journal / f"{SECOND}.seal"
    line = json.loads(seal.read_bytes())
    edit(seal, lambda text: text.replace(line["key"].encode(), b"\\u001b[31mall is well"))
    assert "it is the seal of another key" in words(journal)
    assert "all is well" not in words(journal)


def test_the_script_in_the_documentation_checks_a_seal(journal: Path) -> None:
    """A few lines, and any Ed25519 will do."""
    script = DOCS.read_text().partition("## Seals")[2].partition("```python\n")[2].partition("```")[0]

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, journal / PUBLIC_KEY, journal / f"{SECOND}.seal"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run().stdout.split()[:2] == ["4", "2"]
    edit(journal / f"{SECOND}.seal", lambda line: line.replace(b'"records":2', b'"records":3'))
    assert "InvalidSignature" in run().stderr


def test_a_head_is_of_what_is_on_disk_when_it_is_signed(tmp_path: Path) -> None:
    """A journal without a record has one as well, so that a missing one says something."""
    keep(tmp_path)
    signed = read_seal(tmp_path / HEAD)
    assert signed is not None
    assert (signed.seal.last, signed.seal.segment, found(tmp_path)) == (0, "", [])
    keep(tmp_path, "a")
    signed = read_seal(tmp_path / HEAD)
    assert signed is not None
    assert (signed.seal.last, signed.seal.segment) == (1, f"{FIRST}.jsonl")
