"""The keeper's process: `python -m pdp.evidence.keeper JOURNAL`.

It lives as `following.life` says, and runs only where nobody else wants the processor. It is told a line at a time:
`4711`, up to which record the journal is on disk; `damaged 12`, that the index with this inode cannot be read; or what
`chores.Told` is as JSON. It says the number of the last record that the index has, at once and whenever there are more,
a `chores.Outcome` as JSON, or why the index does not get on.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from pdp.evidence.following.life import LAST_WORK_S, follow, say
from pdp.evidence.index.index_keeper import IndexKeeper
from pdp.evidence.keeper import DAMAGED
from pdp.evidence.keeper.chores import Chores, Outcome, decode_told


class Keeper:
    """Keeps the index, and does what else it is told, on a thread beside it."""

    def __init__(self, directory: Path) -> None:
        """Keep what is derived from a journal."""
        self._index = IndexKeeper(directory, say)
        self._chores = Chores(directory, _say_outcome)

    def hear(self, lines: Iterable[bytes]) -> float:
        """Take in what the sidecar tells, until it tells no more."""
        for line in lines:
            word, _, inode = line.partition(b" ")
            if line.startswith(b"{"):
                self._chores.hear(decode_told(line))
            elif word == DAMAGED:
                self._index.damaged(int(inode))
            else:
                self._index.hear(int(line))
        self._chores.end()
        self._index.end()
        return LAST_WORK_S

    def work(self) -> None:
        """Do all of it until `hear` has come to its end."""
        working = threading.Thread(target=self._chores.work, name="chores")
        working.start()
        self._index.keep()
        working.join()


def _say_outcome(outcome: Outcome) -> None:
    with suppress(BrokenPipeError):  # nobody listens any more, which the end of what is told says as well
        say(msgspec.json.encode(outcome).decode())


def main() -> None:
    """Keep what is derived from the journal named on the command line, for whoever started this process."""
    keeper = Keeper(Path(sys.argv[1]))
    follow(keeper.hear, keeper.work, can_wait=True)


if __name__ == "__main__":
    main()
