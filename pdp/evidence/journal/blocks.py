"""The compressed form of a segment: a gzip file of many members, so that to read a record is to decompress one of them.

Rule 1: each member, a block, holds the next `BLOCK` bytes of the segment, or what is left; an empty one ends the file,
so a cut shows wherever it is.
Rule 2: its header says where it begins in the segment, how long it is both ways, and the checksum of what is
compressed, and has one right form: every flipped bit shows, also one that would decompress to the same bytes.
Rule 3: what is read and decompressed is bounded by what a header may promise, and each block leads further on.

RFC 1952: members that follow one another are a gzip file, and may have an extra field of subfields. Ours is `SP`: begin
(8 bytes), length of the member, of its plain bytes, and CRC-32 of its compressed ones (4 bytes each), little-endian.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from bisect import bisect_right
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 128 * 1024
"""Plain bytes of a block: two milliseconds to compress, without the interpreter's lock, and a quarter of one to read.

Half as many bytes make the files 3 % larger and the headers to pass twice as many; twice as many make them 2 % smaller,
and each of the records of a page, which lie far apart, cost twice as much.
"""

_MOST = 1 << 20
"""No block of any version is larger, in either form."""
_LEVEL = 6
_FEXTRA = 4
_RAW = -zlib.MAX_WBITS
_SUBFIELD = b"SP\x14\x00"
# Magic, deflate, an extra field; neither time nor flags, of no system.
_PREFIX = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + b"\x18\x00" + _SUBFIELD
_HEADER = Struct("<16sQIII")
_TRAILER = Struct("<II")
_AROUND = _HEADER.size + _TRAILER.size
_BUFFER = 256 * 1024
_CUT = "it ends too soon"
_GOES_ON = "it goes on behind its end"


class _Block(NamedTuple):
    """What a header says, and where it stands."""

    start: int
    """In the plain segment."""
    plain: int
    at: int
    """In the file."""
    size: int
    checksum: int


def block_of(start: int, plain: bytes) -> bytes:
    """Return the block of the bytes that begin here in a segment; of none, the one that ends the file."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    body = packer.compress(plain) + packer.flush()
    header = _HEADER.pack(_PREFIX, start, _AROUND + len(body), len(plain), zlib.crc32(body))
    return b"".join((header, body, _TRAILER.pack(zlib.crc32(plain), len(plain))))


def open_compressed(path: Path) -> BinaryIO:
    """Open a compressed segment as if it were plain: to seek costs a block, and the headers before it, read once.

    A gzip file of another make is read too; there to seek is to decompress all that is before. Reading raises
    gzip.BadGzipFile, zlib.error or EOFError where the file is damaged.
    """
    with path.open("rb", buffering=0) as file:
        flags = file.read(4)[3:]
    if flags and not flags[0] & _FEXTRA:
        # The buffer makes reading by lines a third as long: the one inside `gzip` is small and asked for each line.
        return io.BufferedReader(cast("io.RawIOBase", gzip.open(path, "rb")), _BUFFER)
    return io.BufferedReader(_Blocks(path.open("rb", buffering=0)), _BUFFER)


class _Blocks(io.RawIOBase):
    """The plain bytes of a file of blocks, which it closes."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._blocks: list[_Block] = []
        """Those whose headers were read, from the first on."""
        self._starts: list[int] = []
        self._until = 0
        """Where they end in the plain segment."""
        self._next = 0
        """Where they end in the file."""
        self._ended = False
        self._position = 0
        self._open: tuple[int, memoryview] = (-1, memoryview(b""))
        """The block that was decompressed last, by its start."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            self._walk_to(sys.maxsize)
            offset += self._until
        self._position = max(offset, 0)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        into, rest = memoryview(buffer).cast("B"), self._rest()
        size = min(len(into), len(rest))
        into[:size] = rest[:size]
        self._position += size
        return size

    def readall(self) -> bytes:
        parts = list[memoryview]()
        while rest := self._rest():
            parts.append(rest)
            self._position += len(rest)
        return b"".join(parts)

    def _rest(self) -> memoryview:
        """Return what is left of the block at the position; nothing at the segment's end."""
        self._walk_to(self._position)
        if self._position >= self._until:
            return memoryview(b"")
        block = self._blocks[bisect_right(self._starts, self._position) - 1]
        if block.start != self._open[0]:
            self._open = block.start, memoryview(self._plain(block))
        return self._open[1][self._position - block.start :]

    def _walk_to(self, position: int) -> None:
        """Read headers until the one of the block at a position, or the end."""
        while not self._ended and position >= self._until:
            block = self._read_header()
            if block.plain:
                self._blocks.append(block)
                self._starts.append(block.start)
            elif self._plain(block) or block.at + block.size != self._size:
                raise gzip.BadGzipFile(_GOES_ON)
            self._ended = not block.plain
            self._until += block.plain
            self._next += block.size

    def _read_header(self) -> _Block:
        header = os.pread(self._file.fileno(), _HEADER.size, self._next)
        if len(header) < _HEADER.size:
            raise gzip.BadGzipFile(_CUT)
        prefix, start, size, plain, checksum = _HEADER.unpack(header)
        if prefix != _PREFIX or start != self._until or not _AROUND < size <= _MOST or plain > _MOST:
            message = f"no block begins at byte {self._next}"
            raise gzip.BadGzipFile(message)
        return _Block(start, plain, self._next, size, checksum)

    def _plain(self, block: _Block) -> bytes:
        member = os.pread(self._file.fileno(), block.size, block.at)
        if len(member) < block.size:
            raise gzip.BadGzipFile(_CUT)
        body = memoryview(member)[_HEADER.size : -_TRAILER.size]
        unpacker = zlib.decompressobj(_RAW)
        # One byte more than is promised, so that the end is reached if that is right.
        plain = unpacker.decompress(body, block.plain + 1) if zlib.crc32(body) == block.checksum else b""
        trailer = _TRAILER.pack(zlib.crc32(plain), block.plain)
        if not unpacker.eof or unpacker.unused_data or len(plain) != block.plain or member[-len(trailer) :] != trailer:
            message = f"the block at byte {block.at} is not what was compressed"
            raise gzip.BadGzipFile(message)
        return plain
