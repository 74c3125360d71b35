"""Whether a journal is what was written: every line, the chain, and what the seals vouch for.

Rule 1: every place that is not as it was written is named, each once where it stands; nothing is repaired.
Rule 2: where there is anything of a key, or one is trusted from elsewhere, the journal is a signed one: then its head
must be sealed, and what is gone from its beginning be removed by a seal.
Needs no lock and disturbs no writer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import UNSET, Struct

from pdp.evidence.journal.segments import (
    USES,
    beside,
    doubles_of,
    first_sequence_of,
    hold_the_same,
    open_segment,
    segment_path,
    segments_of,
    strays_of,
)
from pdp.evidence.line.chain import GENESIS, hash_of
from pdp.evidence.seals.sealing import (
    HEAD,
    HEAD_SEAL,
    REMOVED,
    REMOVED_SEAL,
    SEGMENT_SEAL,
    Seal,
    Signed,
    parse_seal,
    seals_of,
)
from pdp.evidence.seals.signing import KEY, PUBLIC_KEY, PublicKey, load_public_key
from pdp.evidence.trouble import JournalDamagedError

_FINGERPRINT = re.compile("[0-9a-f]{64}")


class Verified(Struct, frozen=True):
    """Every line has its hash and continues the one before, and is what was sealed."""

    records: int
    segments: int
    first_sequence: int
    """1 unless older segments were removed; 0 for an empty journal."""
    last_hash: str
    seals: int = 0
    """Of segments, those of removed ones included."""
    sealed_until: int = 0
    """The youngest record a signature vouches for; 0: none does."""
    removed_until: int = 0
    """The youngest record that retention has removed."""
    key: str = ""
    """Fingerprint of the key the seals were checked with; empty: the journal is not a signed one."""


class Broken(Struct, frozen=True):
    """A place where a journal is not what was written."""

    segment: str
    """The file: a segment, a seal or a key."""
    line: int
    sequence: int
    """As the line says; 0 if it does not."""
    what: str


Verification: TypeAlias = Verified | list[Broken]


def verify(directory: Path, trusted: PublicKey | None = None) -> Verification:
    """Check every line of every segment, and every seal; return all places that are broken, if there are any.

    `trusted` is the public key to go by instead of the one in the directory. Records younger than `sealed_until` may
    have been cut off at a line's end without a trace: compare `last_hash` with one noted elsewhere for those. Raises
    SigningKeyError if the public key in the directory is none; may raise OSError.
    """
    seals = _SealCheck(directory, trusted)
    chain = _ChainCheck(seals.by_last)
    segments = segments_of(directory)
    for segment in segments:
        chain.segment(segment)
    chain.end()
    if seals.signed:
        seals.check_beginning(chain)
        seals.check_missing(chain)
        seals.check_uses()
    chain.check_gone(seals.removed_until)
    broken = chain.broken + seals.broken + list(_strangers(directory))
    if broken:
        return broken
    return Verified(
        chain.records,
        len(segments),
        chain.first,
        chain.expected_prev,
        seals.count,
        max(seals.by_last, default=0),
        seals.removed_until,
        seals.fingerprint,
    )


def _strangers(directory: Path) -> Iterator[Broken]:
    """Yield the files that stand where segments do and are none."""
    for path in strays_of(directory):
        yield Broken(path.name, 1, 0, "it is no segment: the name of one has twenty digits, and is not zero")
    for plain, compressed in doubles_of(directory):
        with suppress(FileNotFoundError):  # compressed, or removed, since it was listed
            if not hold_the_same(plain, compressed):
                what = f"it stands beside `{compressed.name}` and says another thing"
                yield Broken(plain.name, 1, 0, what)


class _Gap(Struct, frozen=True):
    """Records that went while the journal was read: whether they were removed on purpose is known afterwards."""

    last: int
    place: Broken
    """What to report if they were not."""


class _Link(Struct):
    seq: int
    prev: str


class _ChainCheck:
    """Walks the chain. After a broken place it goes on from what stands there, to name each place once."""

    def __init__(self, sealed: dict[int, list[tuple[str, Seal]]]) -> None:
        """Take the seals, with their files, by the sequence they reach to."""
        self.broken: list[Broken] = []
        self.records = 0
        self.first = 0
        self.first_prev = GENESIS
        self.first_segment = ""
        self.last = 0
        self.expected_prev = GENESIS
        self._sealed = sealed
        self._also_prev = GENESIS
        """What the last line really hashes to, if that is not what it claims."""
        self._expected_sequence = 1
        self._promised = 1
        """What the segment's name says of its first record."""
        self._where = ("", 0)
        self._gone = ""
        """A segment that was gone when it was to be read, if none was read since."""
        self._gaps: list[_Gap] = []
        self._empty: list[tuple[str, int]] = []
        """Segments without a line, with what their names promise."""

    def segment(self, segment: Path) -> None:
        """Check one segment's lines."""
        self._where, self._promised = (segment.name, 0), first_sequence_of(segment)
        try:
            with open_segment(segment) as file:
                for number, line in enumerate(file, 1):
                    self._where = (segment.name, number)
                    self._line(line)
        except JournalDamagedError as error:
            self._where = (segment.name, self._where[1] + 1)
            self._report(0, str(error))
        except FileNotFoundError:
            self._gone = segment.name
            return
        if self._where[1]:
            self._gone = ""
        else:
            self._empty.append((segment.name, self._promised))

    def end(self) -> None:
        """Check what only the end shows: segments that are gone from it, and empty ones.

        Only the last one may be empty, if the next record belongs there: a crash came before it.
        """
        if self._gone:
            what = f"it went while the journal was checked, and with it the records from {self._expected_sequence} on"
            self._gaps.append(_Gap(self._promised, Broken(self._gone, 1, self._promised, what)))
        for name, promised in self._empty:
            if (promised, name) != (self._expected_sequence, self._where[0]) and not self._gone:
                self.broken.append(Broken(name, 1, 0, "it is empty, and no record belongs there"))

    def check_gone(self, removed_until: int) -> None:
        """Report what went while the journal was read, unless retention has removed it."""
        self.broken += [gap.place for gap in self._gaps if gap.last > removed_until]

    def _line(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            self._report(0, "the line is cut off")
            return
        try:
            claimed, actual = hash_of(line[:-1])
            link = msgspec.json.decode(line, type=_Link)
        except (ValueError, msgspec.DecodeError) as error:
            self._report(0, f"the line is not a record: {error}")
            self._expected_sequence += 1
            self.expected_prev = self._also_prev = ""
            return
        self._place(link)
        if claimed != actual:
            self._report(link.seq, "the line was altered: its hash is another")
        for file, seal in self._sealed.get(link.seq, ()):
            if seal.hash != claimed:
                what = (
                    f"it is not what was sealed: `{file}` has another hash, so records {seal.first} to {seal.last} are"
                )
                self._report(link.seq, f"{what} forged, or some of them")
        self.records += 1
        self.last = max(self.last, link.seq)
        self.expected_prev, self._also_prev, self._expected_sequence = claimed, actual, link.seq + 1

    def _place(self, link: _Link) -> None:
        """Check that the line stands where it was written."""
        if self.records == 0 and not self.broken:
            self.first, self.first_prev, self.first_segment = link.seq, link.prev, self._where[0]
            if link.seq > 1:  # older segments were removed: whether on purpose, seals say
                self._check_name(link)
                return
        if link.seq > self._expected_sequence:
            self._gap(link)
        elif link.seq < self._expected_sequence:
            self._report(link.seq, f"it is out of order: record {self._expected_sequence} belongs here")
        elif self.expected_prev and link.prev not in (self.expected_prev, self._also_prev):
            self._report(link.seq, "it does not follow the record before it")
        else:
            self._check_name(link)

    def _gap(self, link: _Link) -> None:
        """Report what is missing before a line, or wait with it where a segment was gone."""
        missing = f"records {self._expected_sequence} to {link.seq - 1} are missing before it"
        if self._gone and self._where[1] == 1:
            self._gaps.append(_Gap(link.seq - 1, Broken(*self._where, link.seq, missing)))
            self._check_name(link)
        else:
            self._report(link.seq, missing)

    def _check_name(self, link: _Link) -> None:
        """Check that the first record of a segment is the one its name promises."""
        if self._where[1] == 1 and link.seq != self._promised:
            self._report(link.seq, "the segment's name is not its first sequence")

    def _report(self, sequence: int, what: str) -> None:
        segment, line = self._where
        self.broken.append(Broken(segment, line, sequence, what))


class _SealCheck:
    """Checks that the seals are the journal's own and follow each other, and gathers what they vouch for."""

    def __init__(self, directory: Path, trusted: PublicKey | None) -> None:
        """Read the seals; before the segments are read, so that none speaks of what was written meanwhile."""
        self.broken: list[Broken] = []
        self.by_last: dict[int, list[tuple[str, Seal]]] = {}
        """What is vouched for: seals that are good, with their files, by the last record of each."""
        self.count = 0
        self.removed_until = 0
        self._of_segments: list[tuple[Path, Seal]] = []
        self._directory = directory
        named = (KEY, PUBLIC_KEY, HEAD, REMOVED)
        present = bool(seals_of(directory)) or any((directory / name).exists() for name in named)
        self.signed = trusted is not None or present
        self._key = trusted
        if not self.signed:
            return
        if trusted is None:
            self._key = load_public_key(directory / PUBLIC_KEY)
        if self._key is None:
            self._report(PUBLIC_KEY, 0, "it is missing: no seal can be checked")
            return
        # The head first: a seal that is made meanwhile follows it, and is not one that it should know.
        head = self._check_head()
        self._check_segments(seals_of(directory), GENESIS if head is None else head.seal.previous)

    @property
    def fingerprint(self) -> str:
        """Of the key that was gone by."""
        return "" if self._key is None else self._key.fingerprint

    def check_beginning(self, chain: _ChainCheck) -> None:
        """Check that what is gone from the beginning was removed on purpose; after the segments are read."""
        path = self._directory / REMOVED
        if path.exists():
            signed = self._read(path, REMOVED_SEAL)
            self.removed_until = 0 if signed is None else signed.seal.last
        if chain.first <= 1:
            return
        if self.removed_until < chain.first - 1:
            what = (
                f"records {self.removed_until + 1} to {chain.first - 1} are missing before it, and no seal removed them"
            )
            self._report(chain.first_segment, chain.first, what)
        for file, seal in self.by_last.get(chain.first - 1, ()):
            if seal.hash != chain.first_prev:
                self._report(chain.first_segment, chain.first, f"it does not follow the record that `{file}` sealed")

    def check_missing(self, chain: _ChainCheck) -> None:
        """Check that what was sealed last is there; gaps before it the chain has named."""
        last = max(self.by_last, default=0)
        if last > max(chain.last, self.removed_until):
            file, seal = self.by_last[last][0]
            first = max(chain.last, self.removed_until) + 1
            what = f"records {first} to {last} are missing at the journal's end: they were sealed at {seal.at}"
            self._report(file, last, what)

    def check_uses(self) -> None:
        """Check the uses that were sealed; those of a removed segment are needed, others can be made again."""
        for path, seal in self._of_segments:
            uses = beside(path, USES)
            try:
                digest = hashlib.sha256(uses.read_bytes()).hexdigest()
            except FileNotFoundError:
                if seal.last <= self.removed_until:
                    self._report(uses.name, seal.last, "it is missing, and its segment was removed")
                continue
            if seal.uses not in (UNSET, digest):
                self._report(uses.name, seal.last, f"it was altered: it is not what `{path.name}` vouches for")

    def _check_head(self) -> Signed | None:
        path = self._directory / HEAD
        if not path.exists():
            self._report(HEAD, 0, "it is missing: whether the youngest records were cut off cannot be told")
            return None
        head = self._read(path, HEAD_SEAL)
        self._vouch(path, head)
        return head

    def _check_segments(self, seals: dict[int, Path], before_head: str) -> None:
        """Check that seals follow one another, and that the one is among them that the head follows."""
        previous, expected, known = GENESIS, 1, {GENESIS}
        for first, path in seals.items():
            signed = self._read(path, SEGMENT_SEAL)
            if signed is None:
                expected = 0  # what this seal said nobody knows: neither the next one nor the head is held against it
                known.add(before_head)
                continue
            seal = signed.seal
            if expected and seal.first > expected:
                self._report(path.name, seal.last, f"the seals of records {expected} to {seal.first - 1} are missing")
            elif expected and seal.previous != previous:
                self._report(path.name, seal.last, "it does not follow the seal before it")
            if (seal.segment, seal.first) != (segment_path(self._directory, first).name, first):
                self._report(path.name, seal.last, f"it is the seal of segment `{seal.segment}`")
            previous, expected = signed.digest, seal.last + 1
            known.add(previous)
            self.count += 1
            self._of_segments.append((path, seal))
            self._vouch(path, signed)

        if before_head not in known:
            self._report(HEAD, 0, f"the seals from record {expected} on are missing that it follows")

    def _vouch(self, path: Path, signed: Signed | None) -> None:
        if signed is not None and signed.seal.last:
            self.by_last.setdefault(signed.seal.last, []).append((path.name, signed.seal))

    def _read(self, path: Path, kind: str) -> Signed | None:
        """Return a seal that is the key's and of its kind; else report it."""
        try:
            signed = parse_seal(path.read_bytes())
        except ValueError as error:
            self._report(path.name, 0, f"it is not a seal: {error}")
            return None
        fault = self._fault_of(signed, kind)
        if fault:
            self._report(path.name, signed.seal.last, fault)
            return None
        return signed

    def _fault_of(self, signed: Signed, kind: str) -> str:
        seal, key = signed.seal, self._key
        if key is None or seal.key != key.fingerprint:
            # Anybody may have written it, so nothing but a fingerprint is repeated.
            return f"it is the seal of another key{f', `{seal.key}`' if _FINGERPRINT.fullmatch(seal.key) else ''}"
        if not key.accepts(signed.signature, signed.body):
            return "it was forged: its signature is not the key's"
        return "" if seal.kind == kind else f"it is a seal of kind `{seal.kind}`, not `{kind}`"

    def _report(self, file: str, sequence: int, what: str) -> None:
        self.broken.append(Broken(file, 1, sequence, what))
