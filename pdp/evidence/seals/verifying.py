"""Whether a journal is what was written: every line, the chain, and what the seals vouch for.

Rule 1: every place that is not as it was written is named, each once where it stands; nothing is repaired.
Rule 2: where there is anything that a key has made, or one is trusted from elsewhere, the journal is a signed one: then
its head must be sealed, and what is gone from its beginning be removed by a seal. For any other nobody vouches.
Needs no lock and disturbs no writer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from msgspec import UNSET, Struct

from pdp.evidence.journal.segments import (
    USES,
    beside,
    doubles_of,
    hold_the_same,
    segment_path,
    segments_of,
    strays_of,
)
from pdp.evidence.line.chain import GENESIS
from pdp.evidence.seals.chain_check import Broken, ChainCheck
from pdp.evidence.seals.sealing import (
    HEAD,
    HEAD_SEAL,
    REMOVED,
    REMOVED_SEAL,
    SEGMENT_SEAL,
    Seal,
    Signed,
    parse_seal,
    published_key,
    seals_of,
)
from pdp.evidence.seals.signing import PUBLIC_KEY, PublicKey

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

    @property
    def unsealed(self) -> bool:
        """Whether there are records and no key: whoever can write there can have written all of them."""
        return bool(self.records) and not self.key


Verification: TypeAlias = Verified | list[Broken]


def verify(directory: Path, trusted: PublicKey | None = None) -> Verification:
    """Check every line of every segment, and every seal; return all places that are broken, if there are any.

    `trusted` is the public key to go by instead of the one in the directory. Records younger than `sealed_until` may
    have been cut off at a line's end without a trace: compare `last_hash` with one noted elsewhere for those. Raises
    SigningKeyError if the public key in the directory is none; may raise OSError.
    """
    begun = bool(segments_of(directory))
    seals = _SealCheck(directory, trusted)
    chain = ChainCheck(seals.by_last)
    # A start makes the key before the first record: where there was neither, what is there by now is a signed journal.
    segments = segments_of(directory) if begun or seals.signed else []
    for segment in segments:
        chain.segment(segment)
    chain.end()
    if seals.signed:
        seals.check_beginning(chain)
        seals.check_missing(chain)
        seals.check_uses()
    chain.check_gone(seals.removed_until)
    broken = chain.broken + seals.broken + list(_strangers(directory))
    # A crash, or a write that goes on, leaves a part of a line behind what is sealed: no record, nor one that was lost.
    if broken and not (seals.signed and broken == chain.torn):
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
        named = (PUBLIC_KEY, HEAD, REMOVED)
        present = bool(seals_of(directory)) or any((directory / name).exists() for name in named)
        self.signed = trusted is not None or present
        self._key = trusted
        if not self.signed:
            return
        if trusted is None:
            self._key = published_key(directory)
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

    def check_beginning(self, chain: ChainCheck) -> None:
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

    def check_missing(self, chain: ChainCheck) -> None:
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
