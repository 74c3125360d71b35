"""A compressed segment is read as the plain one, at any place, and damage to it never reads as anything else."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.evidence.archive import compressing
from pdp.evidence.index.lines import read_records
from pdp.evidence.index.query import Place
from pdp.evidence.journal.blocks import block_of
from pdp.evidence.journal.segments import open_segment, read_segment
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.trouble import JournalDamagedError

NAME = f"{1:020d}.jsonl.gz"
LINES = st.lists(st.text("abc\u00fc\U0001f511", max_size=40).map(lambda text: f"{text}\n".encode()), max_size=40).map(
    b"".join
)
BLOCKS = st.integers(1, 300)
PLACES = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=8)
SAMPLE = b"".join(b'{"seq":%d,"kind":"decision"}\n' % number for number in range(60))


def packed(plain: bytes, block: int = 500) -> bytes:
    """Return the compressed form, in blocks of so many plain bytes."""
    starts = range(0, len(plain), block)
    return b"".join(block_of(start, plain[start : start + block]) for start in starts) + block_of(len(plain), b"")


def read_at(data: bytes, places: list[tuple[int, int]]) -> list[bytes]:
    """Return what a compressed segment of these bytes has at these places."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / NAME
        path.write_bytes(data)
        found = list[bytes]()
        with open_segment(path) as file:
            for offset, length in places:
                file.seek(offset)
                found.append(file.read(length))
        return found


def whole(path: Path, data: bytes) -> bytes:
    """Return all that a compressed segment of these bytes has."""
    path.write_bytes(data)
    return read_segment(path)


@given(LINES, BLOCKS, PLACES)
def test_what_is_read_anywhere_is_what_the_plain_segment_has_there(
    plain: bytes, block: int, places: list[tuple[int, int]]
) -> None:
    """In any order, over the borders of blocks, and beyond the end."""
    expected = [plain[offset : offset + length] for offset, length in places]
    assert expected == read_at(packed(plain, block), places)


@given(LINES, BLOCKS)
def test_it_is_a_gzip_file(plain: bytes, block: int) -> None:
    """Which any tool can read."""
    assert plain == gzip.decompress(packed(plain, block))


@given(LINES, PLACES)
def test_a_file_of_one_member_is_read_as_well(plain: bytes, places: list[tuple[int, int]]) -> None:
    """As former versions wrote them."""
    expected = [plain[offset : offset + length] for offset, length in places]
    assert expected == read_at(gzip.compress(plain, mtime=0), places)


@given(LINES, BLOCKS, PLACES, st.data())
def test_damage_is_said_or_does_no_harm(
    plain: bytes, block: int, places: list[tuple[int, int]], data: st.DataObject
) -> None:
    """A byte that is another, or a cut, anywhere: never are other bytes read."""
    intact = packed(plain, block)
    at = data.draw(st.integers(0, len(intact) - 1))
    changed = bytes([intact[at] ^ data.draw(st.integers(1, 255))])
    damaged = data.draw(st.sampled_from([intact[:at], intact[:at] + changed + intact[at + 1 :]]))
    expected = [plain[offset : offset + length] for offset, length in places]
    for place, content in zip(places, expected, strict=True):
        try:
            assert read_at(damaged, [place]) == [content]
        except JournalDamagedError as error:
            assert f"segment `{NAME}` cannot be decompressed" in str(error)  # noqa: PT017  # or none is raised


def test_every_flipped_bit_and_every_cut_shows_when_all_is_read(tmp_path: Path) -> None:
    """Also in headers, in padding, and in what would decompress to the same bytes."""
    intact, path = packed(SAMPLE), tmp_path / NAME
    missed = list[int]()
    for bit in range(8 * len(intact)):
        flipped = bytearray(intact)
        flipped[bit // 8] ^= 1 << bit % 8
        for damaged in (bytes(flipped), intact[: bit // 8]):
            try:
                whole(path, damaged)
            except JournalDamagedError:
                continue
            missed.append(bit)
    assert missed == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data + b"\0", "it goes on behind its end"),
        (lambda data: data + data, "it goes on behind its end"),
        (lambda data: data[:0], "it ends too soon"),
        (lambda data: data[: -len(block_of(0, b""))], "it ends too soon"),
        (lambda data: data[:-1], "it ends too soon"),
        (lambda data: data[: len(data) // 2], "it ends too soon"),
        (lambda data: data[len(block_of(0, SAMPLE[:500])) :], "no block begins at byte 0"),
    ],
)
def test_damage_is_told_with_the_segment(tmp_path: Path, damage: Callable[[bytes], bytes], said: str) -> None:
    """Which place it is, as far as that is known."""
    with pytest.raises(JournalDamagedError, match=rf"^segment `{NAME}` cannot be decompressed: {said}"):
        whole(tmp_path / NAME, damage(packed(SAMPLE)))


def test_a_block_that_holds_more_than_it_promises_is_not_decompressed(tmp_path: Path) -> None:
    """Were it all read, memory would have no bound."""
    bomb = bytearray(block_of(0, bytes(16 << 20)))
    bomb[28:32] = (1000).to_bytes(4, "little")
    bomb[-8:] = zlib.crc32(bytes(1000)).to_bytes(4, "little") + bomb[28:32]
    path = tmp_path / NAME
    tracemalloc.start()
    try:
        with pytest.raises(JournalDamagedError, match="the block at byte 0 is not what was compressed"):
            whole(path, bytes(bomb) + block_of(1000, b""))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("member", [24, 28])
def test_a_block_that_promises_too_much_is_not_read(tmp_path: Path, member: int) -> None:
    """Neither compressed nor plain."""
    lying = bytearray(packed(SAMPLE))
    lying[member : member + 4] = b"\xff" * 4
    with pytest.raises(JournalDamagedError, match="no block begins at byte 0"):
        whole(tmp_path / NAME, bytes(lying))


def test_positions_are_told_as_in_a_plain_file(tmp_path: Path) -> None:
    """From the start, from here, from the end."""
    path = tmp_path / NAME
    path.write_bytes(packed(SAMPLE))
    with open_segment(path) as file:
        told = [file.seek(700), file.seek(7, 1), file.seek(-7, 2), file.tell(), file.read()]
    assert told == [700, 707, len(SAMPLE) - 7, len(SAMPLE) - 7, SAMPLE[-7:]]


def test_compression_writes_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the size there is, and one that ends them."""
    monkeypatch.setattr(compressing, "BLOCK", 500)
    segment = tmp_path / f"{1:020d}.jsonl"
    segment.write_bytes(SAMPLE)
    assert compressing.compress(segment, lambda: False)
    assert packed(SAMPLE) == (tmp_path / NAME).read_bytes()


def test_of_records_in_one_block_it_is_decompressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And blocks without any not at all."""
    begun = list[int]()
    decompressobj = zlib.decompressobj

    def counted(wbits: int) -> object:
        begun.append(wbits)
        return decompressobj(wbits)

    lines = [line_of(b'{"kind":"decision"}', number, GENESIS)[0] for number in range(1, 61)]
    plain = b"".join(lines)
    (tmp_path / NAME).write_bytes(packed(plain, 10 * len(lines[-1])))
    monkeypatch.setattr(zlib, "decompressobj", counted)
    told = {number: lines[number - 1][:-1] for number in (3, 1, 2, 55, 54)}
    found = read_records(tmp_path, [Place(number, plain.index(raw), len(raw)) for number, raw in told.items()])
    assert [one.raw for one in found] == list(told.values())
    assert len(begun) == 2
