"""Keeps the index of a running sidecar, in the keeper's process.

Rule 1: it reads the journal, never writes to it, and only up to where it is told that the journal is on disk.
Rule 2: derived: what is lost, damaged or of another journal is made anew.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pdp.evidence.derived_file import is_damaged, remove
from pdp.evidence.index.filling import fill, forget_what_is_gone, inode_of
from pdp.evidence.index.index_file import FILE, IndexFile
from pdp.evidence.index.lines import leads_into
from pdp.evidence.index.sole_writer import sole_writer
from pdp.evidence.trouble import JournalDamagedError

_LOOK_AGAIN_S = 60.0
"""Between two looks for segments that were removed."""
_RETRY_S = 5.0
_ANEW_AFTER_S = 0.5
"""On a disk that damages whatever is written there would be no end to it."""
_TURN_S = 0.05
"""Between two tries for the lock."""


class IndexKeeper:
    """Follows what it is told. `keep` is for the thread that works, all else for the one that listens."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        """Keep the index of a journal; `say` tells the sidecar how far it is, or why it does not get on."""
        self._directory = directory
        self._say = say
        self._until = 0
        self._damaged = 0
        """Inode of a file that cannot be read; 0: none."""
        self._told = threading.Event()
        self._ending = threading.Event()

    def hear(self, until: int) -> None:
        """Take note that the journal is on disk up to this record."""
        self._until = max(self._until, until)
        self._told.set()

    def damaged(self, inode: int) -> None:
        """Take note that the file with this inode cannot be read."""
        self._damaged = inode
        self._told.set()

    def end(self) -> None:
        """Have `keep` return; what is given up then SQLite undoes."""
        self._ending.set()
        self._told.set()

    def keep(self) -> None:
        """Keep the index up to date, until `end`."""
        self._told.wait()
        while not self._ending.is_set():
            try:
                with sole_writer(self._directory, self._may_wait):
                    self._keep_file()
            except (sqlite3.Error, OSError, JournalDamagedError) as error:
                self._fail(str(error) or type(error).__name__)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said, and may not be so the next time
                self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, why: str) -> None:
        """Say why it does not get on, and leave the next try for later."""
        self._say(" ".join(why.split()))
        self._told.clear()
        self._told.wait(_RETRY_S)

    def _keep_file(self) -> None:
        """Keep a file, until it has to be another one."""
        path = self._directory / FILE
        try:
            with closing(self._opened(path)) as file:
                inode = inode_of(self._directory)
                while not self._ending.is_set() and not self._damaged and inode_of(self._directory) == inode:
                    self._keep_up(file)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            self._say(f"index `{FILE}` is damaged and made anew from the journal: {error}")
            remove(path)
            self._ending.wait(_ANEW_AFTER_S)

    def _keep_up(self, file: IndexFile) -> None:
        """Take in what there is, and wait for more."""
        self._told.clear()
        forget_what_is_gone(self._directory, file)
        self._say(str(file.position.sequence))
        if file.position.sequence < self._until:
            for sequence in fill(file, self._directory, self._until):
                self._say(str(sequence))
                if self._ending.is_set():
                    return
        self._told.wait(_LOOK_AGAIN_S)

    def _opened(self, path: Path) -> IndexFile:
        if self._damaged and inode_of(self._directory) == self._damaged:
            remove(path)
        self._damaged = 0
        file = IndexFile.open(path)
        if file.position.sequence > self._until or not leads_into(self._directory, file.position):  # of another journal
            file.close()
            remove(path)
            file = IndexFile.open(path)
        return file

    def _may_wait(self) -> bool:
        return not self._ending.wait(_TURN_S)
