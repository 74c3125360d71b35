"""Log lines: data for machines, or a line to read for who runs a sidecar in a terminal.

Rule 1: a line never waits for whoever reads the log. A thread of its own writes; memory is bounded: lines that find no
room are left out, and how many is said as soon as there is room again.
Rule 2: what the standard library's logging says goes the same way and has the same form.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

_MOST_WAITING = 4_096
_PATIENCE_S = 1.0
"""How long the end of the process waits for who reads."""


class QueuedLines:
    """A file to log to, which takes whole lines and never waits; any thread may write."""

    def __init__(
        self, stream: io.RawIOBase, left_out: Callable[[int], str], *, most_waiting: int = _MOST_WAITING
    ) -> None:
        """Begin to write to `stream`; `left_out` returns the line that says how many lines found no room.

        The stream must not be buffered: a thread that hangs with the lock of a buffer would end the interpreter badly.
        """
        self._stream = stream
        self._say_left_out = left_out
        self._most_waiting = most_waiting
        self._waiting: list[str] = []
        self._left_out = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log-lines", daemon=True)
        self._thread.start()

    def write(self, line: str) -> int:
        """Have a line, which ends with its line feed, written soon."""
        with self._changed:
            if len(self._waiting) < self._most_waiting:
                self._waiting.append(line)
                self._changed.notify()
            else:
                self._left_out += 1
        return len(line)

    def flush(self) -> None:
        """Do nothing: what is taken is written as soon as its reader lets it."""

    def close(self, timeout_s: float = _PATIENCE_S) -> None:
        """Write what waits, for at most so long."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (taken := self._taken())[0]:
            lines, left_out = taken
            said = [self._say_left_out(left_out)] if left_out else []
            try:
                self._write("".join(lines + said).encode(errors="backslashreplace"))
            except OSError:  # nobody reads, or the disk is full: neither is a reason to stop deciding
                with self._changed:
                    self._left_out += left_out + len(lines)

    def _taken(self) -> tuple[list[str], int]:
        """Wait for lines and return all of them, none once this is closed, and how many found no room behind them."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            taken = self._waiting, self._left_out
            self._waiting, self._left_out = [], 0
            return taken

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._stream.write(rest) or 0 :]


@contextmanager
def logging_to_output(*, as_json: bool) -> Iterator[None]:
    """Have everything logged to standard output; at the end, what waits is written for a second at most."""
    told: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render = _renderer(as_json=as_json)
    form = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *told],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    with io.FileIO(sys.stdout.fileno(), "w", closefd=False) as stream:
        lines = QueuedLines(stream, lambda number: _left_out(form, number))
        _log_to(lines, [*told, render], form)
        try:
            yield
        finally:
            lines.close()


def _log_to(lines: QueuedLines, processors: Sequence[Processor], form: logging.Formatter) -> None:
    """Have both kinds of loggers write there: of other libraries warnings and worse, of this product what informs."""
    file = cast("TextIO", lines)  # a logger asks for no more than `write` and `flush`
    structlog.configure(processors=processors, logger_factory=structlog.WriteLoggerFactory(file))
    handler = logging.StreamHandler(lines)
    handler.setFormatter(form)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("pdp").setLevel(logging.INFO)


def _renderer(*, as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=not os.environ.get("NO_COLOR"),
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,  # others show local variables, secrets among them
    )


def _left_out(form: logging.Formatter, number: int) -> str:
    said = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"}
    message = {"msg": "%d lines are not in this log, which is read too slowly", "args": (number,)}
    return form.format(logging.makeLogRecord(said | message)) + "\n"
