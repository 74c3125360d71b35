"""What a crash leaves of the archive's work, and what is done about it.

Rule 1: of two forms of a segment that differ none is removed: the one that is not what was sealed is set aside.
"""

from __future__ import annotations

import logging
from itertools import chain, count
from pathlib import Path

from pdp.evidence.archive.compressing import begun_of, forget_begun
from pdp.evidence.journal.disk import sync_directory
from pdp.evidence.journal.segments import SEAL, beside, doubles_of, hold_the_same, open_segment
from pdp.evidence.line.chain import hash_of
from pdp.evidence.seals.sealing import Seal, read_seal
from pdp.evidence.trouble import JournalDamagedError

_LOG = logging.getLogger(__name__)


def clean_up(directory: Path) -> None:
    """Remove what a crash has left half done, and set aside what it cannot have left.

    May raise OSError, and JournalDamagedError at a seal that is none.
    """
    forget_begun(begun_of(directory))
    for plain, compressed in doubles_of(directory):
        if hold_the_same(plain, compressed):
            plain.unlink(missing_ok=True)
        else:
            _tell_apart(plain, compressed)


def _tell_apart(plain: Path, compressed: Path) -> None:
    """Set aside the form of a segment that is not what was sealed; the plain one if nothing tells against either."""
    signed = read_seal(beside(plain, SEAL))
    if signed is not None and _is_as_sealed(compressed, signed.seal):
        _set_aside(plain)
    elif signed is not None and _is_as_sealed(plain, signed.seal):
        _set_aside(compressed)
    else:
        _LOG.warning("`%s` and `%s` differ, and neither is what was sealed: both stay", plain.name, compressed.name)


def _is_as_sealed(segment: Path, seal: Seal) -> bool:
    """Whether a segment has as many whole lines as were sealed, and the same last one."""
    records, last = 0, ""
    try:
        with open_segment(segment) as file:
            for line in file:
                last, actual = hash_of(line.removesuffix(b"\n"))
                if last != actual:
                    return False
                records += 1
    except (ValueError, JournalDamagedError):
        return False
    return (records, last) == (seal.records, seal.hash)


def _set_aside(path: Path) -> None:
    """Give a file a name by which it is no segment any more, and which no other has."""
    names = chain([f"{path.name}.torn"], (f"{path.name}.torn.{number}" for number in count(2)))
    free = next(aside for aside in map(path.with_name, names) if not aside.exists())
    path.rename(free)
    sync_directory(path.parent)
    _LOG.warning("`%s` is not what was sealed, as what stands beside it is: it is `%s` now", path.name, free.name)
