"""Who signs for the journal: its key, the chain of its seals, and how far they reach.

Rule 1: a seal is made once, behind the last. One that is missing between others is not made again: that would hide it.
Rule 2: what seals vouch for and is not there stops the start: the next head would hide that it is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pdp.core.model import Instant
from pdp.evidence.instants import instant_text
from pdp.evidence.journal.segments import SEAL, beside, first_sequence_of, segment_path, segment_with, segments_of
from pdp.evidence.line.chain import GENESIS
from pdp.evidence.seals.sealing import (
    HEAD,
    HEAD_SEAL,
    REMOVED,
    REMOVED_SEAL,
    SEGMENT_SEAL,
    LastRecord,
    Seal,
    read_seal,
    record_at,
    seals_of,
    vouched_seal,
    write_seal,
)
from pdp.evidence.seals.signing import KEY, PUBLIC_KEY, SigningKey, load_key, make_key, publish_key
from pdp.evidence.trouble import JournalDamagedError, SigningKeyError

_LOG = logging.getLogger(__name__)


class Notary:
    """Signs for one journal; used by one thread at a time. Every method may raise OSError and JournalDamagedError."""

    def __init__(self, directory: Path) -> None:
        """Take the journal's key; a journal that has no seals either is given one.

        Raises SigningKeyError if there are seals and no key, or the key is no good; may raise OSError.
        """
        self._directory = directory
        self._key = _key_of(directory)
        self._previous = GENESIS
        self._head = (-1, GENESIS)
        """The record up to which the head is signed, and the digest of the seal it follows."""

    @property
    def key(self) -> str:
        """The fingerprint of its key."""
        return self._key.public.fingerprint

    def begin(self, until: int, at: Instant) -> list[tuple[Path, int]]:
        """Sign where the journal stands, at record `until`; return the segments that still lack a seal.

        Each comes with its last sequence. Raises JournalDamagedError if records are gone that a seal vouches for, or
        if the head's is another.
        """
        directory, sealed_until = self._directory, 0
        for first, path in seals_of(directory).items():
            newest = read_seal(path)
            if newest is not None:
                sealed_until, self._previous = first, newest.digest
                _refuse_missing(directory, newest.seal, until)
        head = vouched_seal(directory / HEAD, self._key.public)
        if head is not None:
            _refuse_missing(directory, head, until)
            _refuse_altered(directory, head)
        elif sealed_until or (directory / PUBLIC_KEY).exists():
            what = "is missing or forged: whether the youngest records were cut off or altered cannot be told"
            _LOG.warning("`%s` %s", HEAD, what)
        self.sign_head(until, at)
        publish_key(directory, self._key.public)
        return list(_unsealed(segments_of(directory), sealed_until))

    def seal(self, segment: Path, last: int, at: Instant, uses: str | UnsetType = UNSET) -> None:
        """Seal a full segment that ends with this sequence, and the file of its uses by its SHA-256."""
        record = record_at(segment, last)
        seal = replace(self._seal(SEGMENT_SEAL, segment, record, at), uses=uses)
        self._previous = write_seal(beside(segment, SEAL), seal, self._key)

    def sign_head(self, until: int, at: Instant) -> None:
        """Sign the journal up to this sequence and the youngest seal, unless that is done."""
        head = (until, self._previous)
        if head == self._head:
            return
        segment = segment_with(self._directory, until) if until else None
        record = LastRecord() if segment is None else _record(segment, until)
        write_seal(self._directory / HEAD, self._seal(HEAD_SEAL, segment, record, at), self._key)
        self._head = head

    def sign_removal(self, segment: Path, at: Instant) -> None:
        """Sign that all up to the end of this segment is removed on purpose."""
        signed = read_seal(beside(segment, SEAL))
        if signed is not None:
            last, time = signed.seal.last, instant_text(at)
            seal = replace(signed.seal, kind=REMOVED_SEAL, first=1, records=last, previous=signed.digest, at=time)
            write_seal(self._directory / REMOVED, replace(seal, uses=UNSET), self._key)

    def _seal(self, kind: str, segment: Path | None, last: LastRecord, at: Instant) -> Seal:
        first = 1 if segment is None else first_sequence_of(segment)
        return Seal(
            kind=kind,
            segment="" if segment is None else segment_path(self._directory, first).name,
            first=first,
            last=last.sequence,
            records=last.sequence - first + 1,
            hash=last.hash,
            until=last.time,
            previous=self._previous,
            at=instant_text(at),
            key=self._key.public.fingerprint,
        )


def _key_of(directory: Path) -> SigningKey:
    key = load_key(directory)
    if key is not None:
        return key
    if seals_of(directory) or any((directory / name).exists() for name in (HEAD, REMOVED, PUBLIC_KEY)):
        message = (
            f"`{directory / KEY}` is missing, and the journal has seals made with it: put it back from a copy, "
            "or move the journal away to begin another"
        )
        raise SigningKeyError(message)
    made = make_key(directory)
    _LOG.info("a key to sign the journal with was made: `%s`; keep a copy of `%s`", made.public.fingerprint, PUBLIC_KEY)
    if segments_of(directory):
        _LOG.warning("the journal had records and no seal: they are sealed as they stand, whoever has written them")
    return made


def _refuse_missing(directory: Path, seal: Seal, until: int) -> None:
    """Raise JournalDamagedError if the journal ends before a record that was sealed."""
    if seal.last > until:
        message = (
            f"record {seal.last} was sealed, and the journal ends at record {until}: its youngest records were "
            f"cut off. put them back, or move journal `{directory}` away to go on without what is lost"
        )
        raise JournalDamagedError(message)


def _refuse_altered(directory: Path, head: Seal) -> None:
    """Raise JournalDamagedError if the record of the head is another, and so, by the chain, it or one before it."""
    segment = segment_with(directory, head.last)
    if not head.last or segment is None or first_sequence_of(segment) > head.last:
        return
    if record_at(segment, head.last).hash != head.hash:
        message = (
            f"record {head.last} is not the one that `{HEAD}` vouches for: it was forged, or what is before it. "
            f"put back what was, or move journal `{directory}` away to go on without it"
        )
        raise JournalDamagedError(message)


def _unsealed(segments: Sequence[Path], sealed_until: int) -> Iterator[tuple[Path, int]]:
    """Yield the full segments behind the last seal; the youngest goes on."""
    for segment, following in pairwise(segments):
        if first_sequence_of(segment) > sealed_until:
            yield segment, first_sequence_of(following) - 1


def _record(segment: Path, sequence: int) -> LastRecord:
    """Return what a record is sealed by; of a sealed segment its seal knows."""
    signed = read_seal(beside(segment, SEAL))
    if signed is not None and signed.seal.last == sequence:
        return LastRecord(sequence, signed.seal.hash, signed.seal.until)
    return record_at(segment, sequence)
