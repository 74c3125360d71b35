"""The walk along the chain: every line of every segment, and where it is not what was written."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.evidence.journal.segments import first_sequence_of, open_segment
from pdp.evidence.line.chain import GENESIS, hash_of
from pdp.evidence.seals.sealing import Seal
from pdp.evidence.trouble import JournalDamagedError


class Broken(Struct, frozen=True):
    """A place where a journal is not what was written."""

    segment: str
    """The file: a segment, a seal or a key."""
    line: int
    sequence: int
    """As the line says; 0 if it does not."""
    what: str


class _Gap(Struct, frozen=True):
    """Records that went while the journal was read: whether they were removed on purpose is known afterwards."""

    last: int
    place: Broken
    """What to report if they were not."""


class _Link(Struct):
    seq: int
    prev: str


class ChainCheck:
    """Walks the chain. After a broken place it goes on from what stands there, to name each place once."""

    def __init__(self, sealed: dict[int, list[tuple[str, Seal]]]) -> None:
        """Take the seals, with their files, by the sequence they reach to."""
        self.broken: list[Broken] = []
        self.torn: list[Broken] = []
        """The end, if the last line of the segment that was read last is cut off."""
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
        self._where, self._promised, self.torn = (segment.name, 0), first_sequence_of(segment), []
        try:
            with open_segment(segment) as file:
                for number, line in enumerate(file, 1):
                    self._where = (segment.name, number)
                    if not line.endswith(b"\n"):
                        self._report(0, "the line is cut off")
                        self.torn = self.broken[-1:]
                        break  # what follows was written meanwhile
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
