"""`records`: a journal of ten million records: its size, checking it, indexing it, and finding records in it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path

import msgspec

from benchmarks.driving import percentile
from benchmarks.month import DAYS
from benchmarks.outcome import Outcome, Row, WrongAnswerError, row, row_beside, spaced
from benchmarks.processes import run_module
from benchmarks.questions import LATER_PAGE, ONE, PAGE, Question, drawn
from benchmarks.scale import Scale
from benchmarks.servers.author import Written
from pdp.evidence.index.index_file import FILE
from pdp.evidence.index.offline import JournalSearch, searching
from pdp.evidence.journal.segments import (
    COMPRESSED,
    SEAL,
    files_beside,
    first_sequence_of,
    is_compressed,
    open_segment,
    read_segment,
    segments_of,
)
from pdp.evidence.seals.verifying import Verified, verify

HOW = f"""\
A journal written by a process of its own with the product's line encoding, chain, seals and compression: {DAYS} days of
a thousand identities, ten thousand sessions of three days each, owners, tasks, approvals with tickets, 3 % denials for
five reasons, 1 % changes, a tenth of the allows durable. Every answer comes from `decide`; then only ids and times
vary. Sizes are bytes of files. *Checking* is `verify`: every line's hash, the chain, every seal; its baseline is
SHA-256 alone over the same plain bytes in memory, so that decompression is in the one and not in the other. *Indexing*
makes `index.db` from nothing, as `pdp journal query` does where it is missing; its baseline is reading the same
segments line by line. *Finding* asks for a page of at most {PAGE} records, the newest first, and reads their lines,
which lie in compressed segments but for the youngest; for each condition as many values as a run has are drawn from
the records themselves. Its baseline reads {PAGE} lines at random places of a plain file that holds one segment, and a
single one for what finds a single one. Files are in the page cache, as far as memory has room for them. The journal is
written, checked and indexed once, whatever the number of runs; the questions are others in each run."""

_BYTES_NEEDED = 600
"""Disk for each record, at most: compressed lines, the index, and the temporary files of making it."""
_PLAIN_SEGMENTS = 8
"""Segments that are plain at once, at most, with the copy that is the baseline."""
_MB = 1_000_000


class NotEnoughRoomError(RuntimeError):
    """The disk has no room for the journal."""


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    _require_room(scale, folder)
    journal = folder / "records"
    _say(f"writing {spaced(scale.records)} records")
    told = run_module("author", str(journal), str(scale.records), str(scale.segment_bytes), shown=True)
    written = msgspec.json.decode(told, type=Written)
    rows = [*_checking(journal, written), *_indexing(journal, written)]
    rows = [*_sizes(journal, written), *rows, *_finding(journal, scale)]
    size, rate = spaced(round(written.plain_bytes / _MB)), spaced(round(written.records / written.elapsed_s))
    note = f"{size} MB of plain lines were written, {rate} records a second, while another process compressed them."
    shutil.rmtree(journal)
    return Outcome(
        workload="records",
        title=f"A journal of {spaced(written.records)} records",
        how=HOW,
        rows=rows,
        notes=[note],
        smoke=scale.smoke,
    )


def _require_room(scale: Scale, folder: Path) -> None:
    needed = scale.records * _BYTES_NEEDED + scale.segment_bytes * _PLAIN_SEGMENTS
    free = shutil.disk_usage(folder).free
    _say(f"{spaced(free // _MB)} MB are free, {spaced(needed // _MB)} MB are needed at most")
    if free < needed:
        message = f"`{folder}` has {free // _MB} MB free, {needed // _MB} MB are needed: use --directory"
        raise NotEnoughRoomError(message)


def _sizes(journal: Path, written: Written) -> list[Row]:
    """Return the bytes of a record, by file; of what is compressed, by the records in it."""
    segments = segments_of(journal)
    rest = next((first_sequence_of(segment) for segment in segments if not is_compressed(segment)), written.records + 1)
    packed = _bytes_of(files_beside(journal, COMPRESSED).values()) / max(rest - 1, 1)
    index = _bytes_of(journal.glob(f"{FILE}*")) / written.records
    seals = _bytes_of(files_beside(journal, SEAL).values()) / written.records
    plain = row("size, plain lines", "bytes a record", [written.plain_bytes / written.records])
    return [
        plain,
        row_beside("size, compressed segments", "bytes a record", [packed], plain),
        row_beside("size, index", "bytes a record", [index], plain),
        row_beside("size, seals", "bytes a record", [seals], plain),
    ]


def _bytes_of(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _checking(journal: Path, written: Written) -> list[Row]:
    """Return how fast a journal is checked, beside hashing it."""
    _say("checking it")
    hashing = 0.0
    for segment in segments_of(journal):
        data = read_segment(segment)
        started = time.perf_counter()
        hashlib.sha256(data).digest()
        hashing += time.perf_counter() - started
    started = time.perf_counter()
    verified = verify(journal)
    elapsed = time.perf_counter() - started
    if not isinstance(verified, Verified) or verified.records != written.records:
        message = f"the journal is not what was written: {verified}"
        raise WrongAnswerError(message)
    base = row("SHA-256 alone over the same bytes", "MB/s", [written.plain_bytes / _MB / hashing])
    return [
        base,
        row_beside("checking", "MB/s", [written.plain_bytes / _MB / elapsed], base),
        row("checking", "records/s", [written.records / elapsed]),
    ]


def _indexing(journal: Path, written: Written) -> list[Row]:
    """Return how fast the index is made, beside reading the lines."""
    _say("indexing it")
    started = time.perf_counter()
    lines = sum(_lines_of(segment) for segment in segments_of(journal))
    reading = time.perf_counter() - started
    started = time.perf_counter()
    with searching(journal) as search:
        elapsed = time.perf_counter() - started
        _require_index(journal, search, lines)
    base = row("reading the lines", "records/s", [lines / reading])
    return [base, row_beside("indexing", "records/s", [written.records / elapsed], base)]


def _lines_of(segment: Path) -> int:
    with open_segment(segment) as file:
        return sum(1 for _ in file)


def _require_index(journal: Path, search: JournalSearch, last: int) -> None:
    """Raise WrongAnswerError unless the index is on disk and ends with this record."""
    if not (journal / FILE).exists() or search.record(last) is None or search.record(last + 1) is not None:
        message = f"there is no index that ends with record {last}"
        raise WrongAnswerError(message)


def _finding(journal: Path, scale: Scale) -> list[Row]:
    """Return what finding records takes, by condition."""
    _say("finding records in it")
    chance = random.Random(11)
    times: dict[str, list[list[float]]] = {}
    with searching(journal) as search, closing(_PlainFile(segments_of(journal)[0], journal / "plain", chance)) as plain:
        for number in range(scale.runs):
            questions = drawn(search, scale.records, scale.queries, chance)
            for name, some in _timed(search, questions).items():
                times.setdefault(name, []).append(sorted(some))
            for name, lines in ((_ONE_LINE, 1), (_PAGE_OF_LINES, PAGE)):
                times.setdefault(name, []).append(sorted(plain.timed(lines) for _ in range(scale.queries)))
            _say(f"run {number + 1} of {scale.runs}")
    one, page = (_median_row(name, times.pop(name)) for name in (_ONE_LINE, _PAGE_OF_LINES))
    rows = [one, page]
    for name, runs in times.items():
        base = one if name == f"finding by {ONE}" else page
        rows.append(row_beside(f"{name}, p50", "ms", _median_row(name, runs).runs, base))
        rows.append(row_beside(f"{name}, worst of {scale.queries}", "ms", [some[-1] for some in runs], base))
    return rows


_ONE_LINE, _PAGE_OF_LINES = "a line of a plain file, p50", f"{PAGE} lines of a plain file, p50"


def _median_row(name: str, runs: Sequence[Sequence[float]]) -> Row:
    return row(name, "ms", [percentile(some, 0.50) for some in runs])


def _timed(search: JournalSearch, questions: Mapping[str, Sequence[Question]]) -> dict[str, list[float]]:
    """Return the milliseconds of each question, by condition."""
    return {f"finding by {name}": [_asked(search, name, one) for one in some] for name, some in questions.items()}


def _asked(search: JournalSearch, condition: str, question: Question) -> float:
    started = time.perf_counter()
    page = search.page(question.query, question.token, PAGE)
    elapsed = time.perf_counter() - started
    if not page.records and condition != LATER_PAGE:  # a token may be that of the oldest record
        message = f"nothing was found by {condition}: {question.query}"
        raise WrongAnswerError(message)
    return elapsed * 1000


class _PlainFile:
    """Lines of one segment in a plain file, read at random places."""

    def __init__(self, segment: Path, path: Path, chance: random.Random) -> None:
        data = read_segment(segment)
        path.write_bytes(data)
        self._chance = chance
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        lengths = list(map(len, data.splitlines(keepends=True)))
        self._places = list(zip(accumulate(lengths, initial=0), lengths, strict=False))

    def timed(self, lines: int) -> float:
        """Return the milliseconds of reading so many."""
        places = self._chance.sample(self._places, lines)
        started = time.perf_counter()
        for offset, length in places:
            os.pread(self._descriptor, length, offset)
        return (time.perf_counter() - started) * 1000

    def close(self) -> None:
        """Give the file back, and remove it."""
        os.close(self._descriptor)
        self._path.unlink()


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)
