"""Log lines that wait for whoever reads them: none is waited for, and what is left out is said."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog

from pdp.cli.logs import QueuedLines, logging_to_output

if TYPE_CHECKING:
    from typing_extensions import Buffer

MOST = 3
PATIENCE_S = 10.0


class Reader(io.RawIOBase):
    """A stream whose reader stalls, fails and goes on as told."""

    def __init__(self) -> None:
        self.text = ""
        self.full = False
        self._asked = self._reads = False
        self._changed = threading.Condition()

    def write(self, data: Buffer) -> int:
        """Take a few bytes once the reader reads; fail once if it is full."""
        with self._changed:
            self._asked = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._reads)
            if self.full:
                self.full = False
                raise OSError
            taken = bytes(memoryview(data)[:5])
            self.text += taken.decode()
            self._changed.notify_all()
            return len(taken)

    def stalls(self) -> None:
        """Wait until somebody hangs in writing."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._asked, PATIENCE_S)

    def reads(self) -> None:
        """Go on."""
        with self._changed:
            self._reads = True
            self._changed.notify_all()

    def has(self, text: str) -> None:
        """Wait until the text has been read."""
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.text, PATIENCE_S)


def lines_to(reader: Reader) -> QueuedLines:
    """Return lines of which few may wait."""
    return QueuedLines(reader, lambda number: f"{number} left out\n", most_waiting=MOST)


def test_lines_beyond_those_that_may_wait_are_left_out_and_counted() -> None:
    """The count is said where they are missing."""
    reader = Reader()
    lines = lines_to(reader)
    lines.write("first\n")
    reader.stalls()
    for number in range(MOST + 2):
        lines.write(f"line {number}\n")
    reader.reads()
    reader.has("left out\n")
    lines.write("last\n")
    lines.close(PATIENCE_S)
    assert reader.text.splitlines() == ["first", "line 0", "line 1", "line 2", "2 left out", "last"]


def test_lines_that_could_not_be_written_are_counted_too() -> None:
    """A disk that is full may have room again."""
    reader = Reader()
    reader.full = True
    lines = lines_to(reader)
    lines.write("lost\n")
    reader.stalls()
    lines.write("kept\n")
    reader.reads()
    lines.close(PATIENCE_S)
    assert reader.text.splitlines() == ["kept", "1 left out"]


def test_the_end_does_not_wait_for_a_reader_that_hangs() -> None:
    """What waits is lost with the process."""
    reader = Reader()
    lines = lines_to(reader)
    lines.write("first\n")
    lines.close(0.0)
    assert reader.text == ""
    reader.reads()


@pytest.fixture
def loggers() -> Iterator[None]:
    """Put the loggers back as they were."""
    root, ours = logging.getLogger(), logging.getLogger("pdp")
    before = root.handlers[:], root.level, ours.level
    root.handlers.clear()
    yield
    root.handlers[:], level, ours_level = before
    root.setLevel(level)
    ours.setLevel(ours_level)
    structlog.reset_defaults()


def fail(secret: str) -> None:
    """Raise ValueError, which does not quote what it is about."""
    raise ValueError(len(secret))


@pytest.mark.usefixtures("loggers")
def test_a_terminal_gets_lines_to_read(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of other libraries what is a warning or worse; a traceback shows no values."""
    monkeypatch.setenv("NO_COLOR", "1")
    with logging_to_output(as_json=False):
        logging.getLogger("grpc.part").info("of no interest")
        logging.getLogger("grpc.part").warning("%d calls", 3)
        logging.getLogger("pdp.part").info("it goes well")
        try:
            fail("hidden " + "value")
        except ValueError as error:
            structlog.get_logger().error("it failed", exc_info=error)
    said = capfd.readouterr().out
    assert [line.split(maxsplit=1)[1] for line in said.splitlines()[:3]] == [
        "[warning  ] 3 calls [grpc.part]",
        "[info     ] it goes well [pdp.part]",
        "[error    ] it failed",
    ]
    assert ("ValueError: 12" in said, "hidden value" in said) == (True, False)
