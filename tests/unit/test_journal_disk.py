"""What the journal asks of the real disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdp.evidence.journal.disk import replace_file


def parts_until_full() -> Iterator[bytes]:
    """Yield what still has room, and then what has none."""
    yield b"new"
    raise OSError(errno.ENOSPC, "no space left on device")


def test_a_file_that_could_not_be_replaced_stays_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    """A full disk would fill up with what is beside."""
    path = tmp_path / "head.seal"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="no space left"):
        replace_file(path, parts_until_full())
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("head.seal", b"old")]
