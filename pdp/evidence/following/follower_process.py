"""A follower's process, as its sidecar has it: started, told, heard, and ended."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, cast

_ENDS_WITHIN_S = 3.0
"""More than it allows itself for its last work."""


class FollowerProcess:
    """A process that runs; it belongs to one thread, which must `close` it."""

    def __init__(self, line: Sequence[str], hear: Callable[[str], None], ended: Callable[[], None]) -> None:
        """Start it by its command line; raise OSError if that cannot be done.

        `hear` gets each line that it says, and `ended` is called when it says no more, both on a thread of their own.
        """
        self._process = subprocess.Popen(  # noqa: S603  # this very program, on a directory from the settings
            line,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the sidecar alone, also before this one has come to ignore it
        )
        self._in, self._out = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        os.set_blocking(self._in.fileno(), False)
        self._hear, self._ended = hear, ended
        self.has_ended = False
        """It says no more: all that is left is to close it."""
        self._has_spoken = False
        self._thread = threading.Thread(target=self._listen, name="follower", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # threads count where processes do
            self._end()
            raise OSError(str(error)) from error

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def tell(self, line: str) -> bool:
        """Tell it something; return whether it could be told: not if it has ended, or hears nothing at the moment."""
        try:
            return self._in.write(f"{line}\n".encode()) is not None
        except OSError:
            return False

    def close(self, last: str = "", within_s: float = 0.0) -> int:
        """End it, within bounded time, and return its exit code: what it is doing is whole, or not done.

        With a last line it is told that, and has so much longer for what it does about it.
        """
        if last:
            self.tell(last)
        if last or self._has_spoken:  # else it may still be on its way to listening
            self._in.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_WITHIN_S + within_s)
        self._end()
        return self._process.returncode

    def _end(self) -> None:
        """End it if it has not, and give back what belongs to it."""
        self._process.kill()
        self._process.wait()
        if self._thread.ident is not None:
            self._thread.join()
        self._in.close()
        self._out.close()

    def _listen(self) -> None:
        with os.fdopen(self._out.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                self._has_spoken = True
                self._hear(line.decode(errors="replace").strip())
        self.has_ended = True
        self._ended()
