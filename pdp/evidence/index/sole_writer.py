"""One process at a time writes to the index, whoever may write to the journal.

The process that keeps a sidecar's index may outlive a sidecar that is killed, by a moment in which the next one starts.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "index.lock"
"""In the journal's directory."""


def _never() -> bool:
    return False


@contextmanager
def sole_writer(directory: Path, wait: Callable[[], bool] = _never) -> Iterator[None]:
    """Keep others from writing meanwhile.

    Where another does, `wait` is called until it does not; raise BlockingIOError once that returns False, OSError if
    the lock cannot be made.
    """
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _taken(descriptor):
            if not wait():
                message = "another process writes to the index"
                raise BlockingIOError(message)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
