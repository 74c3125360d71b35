"""The place in the journal up to which everything that must be exported has been acknowledged by the collector.

Rule 1: the file is replaced as a whole and never ahead of the truth: after a crash some records are exported again,
none is left out.
Rule 2: a journal without the file has exported nothing yet; one that is unreadable says nothing, so all is exported
again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

_LOG = logging.getLogger(__name__)

FILE = "export.cursor"
"""In the journal's directory: a sequence in decimal digits, and a line feed."""
_MOST_DIGITS = 19
"""Of a sequence, which has 64 bits."""


def read_cursor(directory: Path) -> int | None:
    """Return the sequence up to which a journal is exported; None if an exporter has never run.

    A damaged file counts as sequence 0. May raise OSError.
    """
    try:
        text = (directory / FILE).read_text("ascii", "replace")
    except FileNotFoundError:
        return None
    digits = text.removesuffix("\n")
    if digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS:
        return int(digits)
    _LOG.warning("`%s` is damaged: all of the journal is exported again", FILE)
    return 0


def write_cursor(directory: Path, sequence: int) -> None:
    """Replace the file; may raise OSError."""
    aside = directory / f"{FILE}.new"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"%d\n" % sequence)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(directory / FILE)


def begin(directory: Path, end: int) -> int:
    """Return where the export of a journal goes on that ends with this sequence; may raise OSError.

    One that has never run begins at the journal's end, as does one that was at another journal.
    """
    cursor = read_cursor(directory)
    if cursor is not None and cursor <= end:
        return cursor
    if cursor is not None:
        _LOG.warning("the export was at record %d of another journal, it goes on at %d", cursor, end)
    # At once: what is recorded from now on must be found by the next start, however soon this process ends.
    write_cursor(directory, end)
    return end
