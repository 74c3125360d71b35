"""A collector in a process of its own, which can be killed and started again: `back` and `away`.

Run as a module it is that process: it notes the id of each decision whose span arrives, before it acknowledges it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.collector import Collector, attributes
from tests.ports import free_port

_ROOT = Path(__file__).parents[2]


class CollectorProcess:
    """Where it listens, and what it has got over all its lives."""

    def __init__(self, notes: Path) -> None:
        """Note the ids in a file."""
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._notes = notes
        self._notes.touch()
        self._process: subprocess.Popen[bytes] | None = None

    def back(self) -> None:
        """Start the process; return once it listens."""
        command = [sys.executable, "-m", __name__, str(self.port), str(self._notes)]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"

    def away(self) -> None:
        """Kill the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def arrived(self) -> Counter[str]:
        """Return how often the span of each decision has arrived."""
        return Counter(self._notes.read_text().split())


class _Noting(Collector):
    def __init__(self, port: int, notes: Path) -> None:
        super().__init__()
        self.port = port
        self._file = notes.open("ab", buffering=0)

    def take(
        self, spans: list[Span] | None = None, logs: list[LogRecord] | None = None, metrics: list[Metric] | None = None
    ) -> None:
        """Note the decisions, and keep nothing."""
        ids = [str(attributes(span.attributes).get("pdp.decision.id", "")) for span in spans or ()]
        # One write, so that a kill leaves all of it or nothing.
        self._file.write("".join(f"{id_}\n" for id_ in ids if id_).encode())


if __name__ == "__main__":
    _Noting(int(sys.argv[1]), Path(sys.argv[2])).back()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    threading.Event().wait()
