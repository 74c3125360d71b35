"""Seals: what the journal's key vouches for.

Rule 1: a seal names a last record by its sequence and hash, and through the chain all before it: who rewrites any of
them needs the key.
Rule 2: each segment's seal holds the digest of the one before, so none can be taken out or made again.
Rule 3: only what is synced is sealed, so no crash leaves a seal of records that are lost.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pdp.evidence.journal.disk import replace_file
from pdp.evidence.journal.segments import SEAL, files_beside, open_segment
from pdp.evidence.line.chain import GENESIS
from pdp.evidence.seals.signing import PUBLIC_KEY, PublicKey, SigningKey, load_key, load_public_key
from pdp.evidence.trouble import JournalDamagedError

HEAD = "head.seal"
"""In the journal's directory: the seal of the youngest record, as it was a minute ago at most."""
REMOVED = "removed.seal"
"""Beside it: the seal of the last record that retention has removed; not there before it removes any."""

SEGMENT_SEAL, HEAD_SEAL, REMOVED_SEAL = "segment", "head", "removed"
_VERSION = 1
_SIGNATURE = b',"signature":"'
_SIGNATURE_DIGITS = 128
_TAIL = len(_SIGNATURE) + _SIGNATURE_DIGITS + len(b'"}')
_BLOCK = 64 * 1024


class LastRecord(Struct, frozen=True):
    """The record up to which a seal reaches."""

    sequence: int = 0
    hash: str = GENESIS
    time: str = ""


class Seal(Struct, frozen=True, kw_only=True):
    """The members of a seal, in their order; the signature follows."""

    v: int = _VERSION
    kind: str
    """`segment`, `head` or `removed`: so that none can be put in the place of another."""
    segment: str
    """The one the last record is in, by its plain name; empty for the head of a journal without records."""
    first: int
    """Sequence of the first record it speaks of: that of its segment, or for `removed` of the journal."""
    last: int
    records: int
    hash: str
    """Of the last record."""
    until: str
    """Time of the last record."""
    previous: str
    """SHA-256 of the seal of the segment before, without line feed; zeros if there is none."""
    at: str
    """When it was signed."""
    key: str
    """Fingerprint of the key."""
    uses: str | UnsetType = UNSET
    """SHA-256 of the file of a segment's uses; former versions vouched for none."""


class Signed(Struct, frozen=True):
    """A seal as it was read."""

    seal: Seal
    body: bytes
    """What was signed."""
    signature: bytes
    digest: str
    """What the next seal has as its `previous`."""


def line_of_seal(seal: Seal, key: SigningKey) -> bytes:
    """Return the seal's one line; the signature is over the line without it, as a hash is over a record's."""
    body = msgspec.json.encode(seal)
    return body[:-1] + _SIGNATURE + key.sign(body).hex().encode() + b'"}\n'


def parse_seal(line: bytes) -> Signed:
    """Return what a line says; raise ValueError if it is no seal. Whether it is true is not looked at."""
    text = line.removesuffix(b"\n")
    signature = text[len(text) - _TAIL + len(_SIGNATURE) : -2]
    body = text[:-_TAIL] + b"}"
    if text != body[:-1] + _SIGNATURE + signature + b'"}':
        message = "it does not end with a signature"
        raise ValueError(message)
    seal = msgspec.json.decode(body, type=Seal)
    return Signed(seal, body, bytes.fromhex(signature.decode("ascii", "replace")), hashlib.sha256(text).hexdigest())


def read_seal(path: Path) -> Signed | None:
    """Return the seal in a file, or None if there is no such file; raise JournalDamagedError if it is none."""
    try:
        return parse_seal(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = f"`{path.name}` is not a seal: {error}"
        raise JournalDamagedError(message) from None


def vouched_seal(path: Path, key: PublicKey | None) -> Seal | None:
    """Return the seal in a file; None if there is none, or the key has not made it. Raises as `read_seal`."""
    signed = read_seal(path)
    if signed is None or (key is not None and not key.accepts(signed.signature, signed.body)):
        return None
    return signed.seal


def seals_of(directory: Path) -> dict[int, Path]:
    """Return the seals of segments by the first sequence of each, in its order."""
    return files_beside(directory, SEAL)


def published_key(directory: Path) -> PublicKey | None:
    """Return the public key of a journal, or None if it is missing; raise SigningKeyError if it is none.

    It is published last: where nothing but the head is sealed yet, a start may have come no further, and the private
    key stands for it.
    """
    published = load_public_key(directory / PUBLIC_KEY)
    if published is not None or seals_of(directory) or (directory / REMOVED).exists():
        return published
    key = load_key(directory)
    return None if key is None else key.public


def write_seal(path: Path, seal: Seal, key: SigningKey) -> str:
    """Sign a seal and put it in place, durably; return its digest. May raise OSError."""
    line = line_of_seal(seal, key)
    replace_file(path, [line])
    return hashlib.sha256(line.removesuffix(b"\n")).hexdigest()


def record_at(segment: Path, sequence: int) -> LastRecord:
    """Return what a seal says of this record, looked for from the segment's end.

    Raises JournalDamagedError if it is not there; may raise OSError.
    """
    with open_segment(segment) as file:
        size = file.seek(0, os.SEEK_END)
        block = _BLOCK
        while True:
            start = max(size - block, 0)
            file.seek(start)
            for line in reversed(file.read(size - start).split(b"\n")[bool(start) :]):
                record = _record_in(line)
                if record is not None and record.sequence == sequence:
                    return record
            if not start:
                message = f"record {sequence} is not in segment `{segment.name}`"
                raise JournalDamagedError(message)
            block *= 4


class _Line(Struct):
    seq: int
    time: str
    hash: str


def _record_in(line: bytes) -> LastRecord | None:
    try:
        found = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # torn, or not synced yet
    return LastRecord(found.seq, found.hash, found.time)
