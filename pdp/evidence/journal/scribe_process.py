"""The scribe as its sidecar has it: a process that is started, sent commits, heard, started again, and ended."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from pdp.evidence.apart import command
from pdp.evidence.journal import scribe
from pdp.evidence.journal.scribe import Answer, Failed, decode_answer, frame_of, opening_of
from pdp.evidence.journal.segments import ChainEnd
from pdp.evidence.line.masking import Masks

_LOG = logging.getLogger(__name__)

_MOST_HEARD = 65_536
_IS_GONE_WITHIN_S = 0.05
_DIES_WITHIN_S = 0.5
"""Once it is killed, but for a disk that hangs: nothing interrupts that."""


class ScribeProcess:
    """One process at a time, started when there is something to write. Belongs to the event loop's thread."""

    def __init__(self, directory: Path, segment_bytes: int, lock: int, masks: Masks | None) -> None:
        """Write to a journal whose lock is the open file `lock`: the process holds it, too; and mask decisions."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._lock = lock
        self._masks = masks
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._unsent = memoryview(b"")
        self._heard = b""
        self._done: Callable[[Answer], None] = _ignore
        self._closing = False

    @property
    def pid(self) -> int | None:
        """The number of the process; None: none runs."""
        return None if self._process is None else self._process.pid

    def start(self, end: ChainEnd) -> None:
        """Start the process, to go on at the journal's end; raise OSError if that cannot be done."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            message = "the process that wrote it has not ended yet"
            raise OSError(message)  # INVARIANT: never two of them
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # this very program, on a directory from the settings
                command(scribe.__name__, str(self._directory), str(self._segment_bytes)),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                pass_fds=(self._lock,),
                process_group=0,  # Ctrl-C is for the sidecar alone, also before this one has come to ignore it
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(0.0)
        self._socket, self._heard = ours, b""
        self._loop.add_reader(ours, self._hear, ours)
        try:
            self._send(opening_of(end, self._masks))
        except OSError:  # it is gone already
            self._hang_up()
            self._code()
            raise

    def commit(self, packed: Sequence[bytes], count: int, end: ChainEnd, done: Callable[[Answer], None]) -> None:
        """Have records written behind the end, and call `done` once with the answer; one commit at a time."""
        self._done = done
        try:
            if self._socket is None:
                self.start(end)
            self._send(frame_of(packed, count))
        except OSError as error:
            self._loop.call_soon(self._fall, str(error))

    async def close(self, timeout_s: float) -> bool:
        """Let it finish what it was sent, and end it; return whether it has ended: not while a disk hangs."""
        self._closing = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        process = self._process
        ended = process is None or await asyncio.to_thread(_end_within, process, timeout_s)
        self._hang_up()
        return ended

    def _send(self, data: bytes) -> None:
        """Send what the socket takes now, and have the rest sent when it takes more."""
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        self._send_some()
        if self._unsent and self._socket is not None:
            self._loop.add_writer(self._socket, self._send_on)

    def _send_some(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent and self._socket is not None:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def _send_on(self) -> None:
        """Send what it takes now of the rest."""
        try:
            self._send_some()
        except OSError as error:
            self._fall(str(error))
            return
        if not self._unsent and self._socket is not None:
            self._loop.remove_writer(self._socket)

    def _hear(self, ours: socket.socket) -> None:
        try:
            data = ours.recv(_MOST_HEARD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._fall(f"the process that writes it has ended with {self._code()}")
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        try:
            for answer in map(decode_answer, lines):
                self._answer(answer)
        except msgspec.DecodeError as error:
            self._fall(str(error))

    def _fall(self, why: str) -> None:
        """Give the process up, and answer for it; the next commit starts another, once this one has ended."""
        if self._done is _ignore and not self._closing:
            _LOG.warning("the journal is written by another process from now on: %s", why)
        self._hang_up()
        self._answer(Failed(why))

    def _code(self) -> int | None:
        """Return what the process has ended with; None: it is not over yet."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):  # its end of the socket is gone, so it is about to
                return self._process.wait(_IS_GONE_WITHIN_S)
        return None

    def _answer(self, answer: Answer) -> None:
        done, self._done = self._done, _ignore
        done(answer)

    def _hang_up(self) -> None:
        ours, self._socket, self._unsent = self._socket, None, memoryview(b"")
        if ours is not None:
            self._loop.remove_reader(ours)
            self._loop.remove_writer(ours)
            ours.close()


def _end_within(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Wait for a process, kill it if that takes too long, and return whether it has ended."""
    for seconds in (timeout_s, _DIES_WITHIN_S):
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(seconds, 0.0))
            return True
        process.kill()
    return False


def _ignore(_: Answer) -> None:
    """Nobody waits."""
