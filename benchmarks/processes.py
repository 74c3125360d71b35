"""Starting the processes of a workload, waiting until they serve, and stopping them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2
from sessionpdp.v1 import decision_pb2 as pb

from benchmarks.conditions import ROOT
from benchmarks.outcome import WrongAnswerError
from benchmarks.world import policy_text
from pdp.evidence.journal.segments import open_segment, segments_of

_POLL_S = 0.005
_LONGEST_START_S = 180.0
_LONGEST_STOP_S = 30.0
_SETS_OFF_S, _LONGEST_WORK_S = 1.2, 60.0
"""After how long the last of what a record sets off has begun, and how long it is waited for."""
_LOOK_S, _QUIET_S = 1.0, 0.02
"""A sidecar is quiet that takes no more processor time than this while it is looked at."""
_HEALTH = "/grpc.health.v1.Health/Check"


class ProcessFailedError(RuntimeError):
    """A process did not do what it was started for; the message ends with what it said last."""


class Spent(NamedTuple):
    """Seconds of processor time."""

    loop: float
    """Of the event loop's thread."""
    others: float
    """Of all other threads of the process, which share its interpreter."""
    children: float
    """Of the processes it has started, those that have ended included."""

    def a_decision(self, before: Spent, decisions: int) -> Spent:
        """Return the microseconds a decision since then."""
        return Spent(*((now - then) / decisions * 1e6 for now, then in zip(self, before, strict=True)))


class Sidecar(NamedTuple):
    """A running sidecar."""

    process: subprocess.Popen[bytes]
    folder: Path
    serving_after_s: float
    """From the start of the process until health said SERVING."""

    @property
    def target(self) -> str:
        """Where it answers checks."""
        return f"unix:{self.folder / 'pdp.sock'}"

    @property
    def administration(self) -> str:
        """Where it takes changes."""
        return f"unix:{self.folder / 'admin.sock'}"

    def resident_bytes(self) -> int:
        """Return the memory that the process has resident now."""
        return resident_bytes(self.process.pid)

    def processor_s(self) -> Spent:
        """Return the processor time so far."""
        pid = self.process.pid
        threads = {int(path.name): _processor_s(path) for path in Path(f"/proc/{pid}/task").iterdir()}
        children = _processor_s(Path(f"/proc/{pid}"), _OF_ENDED_CHILDREN)
        children += sum(_processor_s(Path(f"/proc/{child}")) for child in self.children())
        return Spent(threads.pop(pid), sum(threads.values()), children)

    def await_quiet(self, *, smoke: bool) -> None:
        """Wait until what its records have set off (the index, exports, segments) is done; hardly, for a smoke run."""
        time.sleep(_POLL_S if smoke else _SETS_OFF_S)
        give_up, before = time.monotonic() + _LONGEST_WORK_S, sum(self.processor_s())
        while not smoke and time.monotonic() < give_up:
            time.sleep(_LOOK_S)
            now = sum(self.processor_s())
            if now - before <= _QUIET_S:
                return
            before = now

    def children(self) -> list[int]:
        """Return the processes that it has started and that run now."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(child) for thread in threads for child in (thread / "children").read_text("ascii").split()]


_OF_ITSELF, _OF_ENDED_CHILDREN = 11, 13
"""Where in `stat` the two times stand that the process, or thread, spent itself; and its children that have ended."""


def _processor_s(place: Path, first: int = _OF_ITSELF) -> float:
    """Return the processor time of a thread or a process, in user and in system mode; 0 if it has ended."""
    try:
        fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[first]) + int(fields[first + 1])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    message = f"process {pid} has no resident memory"
    raise ProcessFailedError(message)


@contextlib.contextmanager
def sidecar(
    folder: Path,
    *,
    conditions: int = 0,
    otlp_endpoint: str = "",
    sample_ratio: float | None = None,
    logs: bool = False,
    journal: Mapping[str, object] | None = None,
) -> Iterator[Sidecar]:
    """Run `pdp serve` on a folder, which may hold a database already, with the twenty policies of the world.

    `journal` are its settings of the journal.
    """
    telemetry: dict[str, object] = {"logs": logs}
    if otlp_endpoint:
        telemetry["otlp_endpoint"] = otlp_endpoint
    if sample_ratio is not None:
        telemetry["sample_ratio"] = sample_ratio
    config = _configure(folder, conditions, {"telemetry": telemetry, "journal": dict(journal or {})})
    command = [str(Path(sys.executable).parent / "pdp"), "serve", "--config", str(config), "--json"]
    with _serving(command, folder) as running:
        yield running


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[Sidecar]:
    """Run the sidecar that keeps no evidence, as `sidecar` does; see `servers/bare`."""
    with _serving(_module("bare", str(_configure(folder, 0, {}))), folder) as running:
        yield running


@contextlib.contextmanager
def _serving(command: Sequence[str], folder: Path) -> Iterator[Sidecar]:
    (folder / "pdp.sock").unlink(missing_ok=True)  # an earlier run may have left it, and it is waited for
    started = time.perf_counter()
    with process(command, folder / "sidecar.log") as running:
        _await_serving(running, folder)
        yield Sidecar(running, folder, time.perf_counter() - started)


def _configure(folder: Path, conditions: int, settings: Mapping[str, object]) -> Path:
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    (policies / "policies.yaml").write_text(policy_text(conditions), encoding="utf-8")
    config = folder / "pdp.yaml"
    told = {"data_dir": str(folder), "policies": [str(policies)], **settings}
    config.write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML
    return config


def _await_serving(running: subprocess.Popen[bytes], folder: Path) -> None:
    """Ask for health until it says SERVING; the socket is there before the facts are loaded."""
    socket = folder / "pdp.sock"
    _await(running, socket.exists, folder / "sidecar.log")
    with grpc.insecure_channel(f"unix:{socket}", [("grpc.initial_reconnect_backoff_ms", 10)]) as channel:
        check = channel.unary_unary(
            _HEALTH, health_pb2.HealthCheckRequest.SerializeToString, health_pb2.HealthCheckResponse.FromString
        )

        def serving() -> bool:
            try:
                response = check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
            except grpc.RpcError:
                return False
            return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

        _await(running, serving, folder / "sidecar.log")


class OnRecord(NamedTuple):
    """How many decisions a journal holds, and of what kind."""

    decisions: int
    allows: int
    durable: int


def on_record(folder: Path) -> OnRecord:
    """Count what the journal of a stopped sidecar holds."""
    found = [0, 0, 0]
    for segment in segments_of(folder / "journal"):
        with open_segment(segment) as lines:
            for line in lines:
                if b'"kind":"decision"' in line:
                    found[0] += 1
                    found[1] += b'"outcome":"allow"' in line
                    found[2] += b'"durable":true' in line
    return OnRecord(*found)


def require_allows_on_record(folder: Path, least: int, durable: int = 0) -> int:
    """Return how many decisions the journal of a stopped sidecar holds.

    All of them must be allows, and there must be at least so many, of which at least `durable` are durable.
    """
    held = on_record(folder)
    if held.decisions != held.allows or held.allows < least or held.durable < durable:
        message = (
            f"the journal holds {held.decisions} decisions, {held.allows} of them allows and {held.durable} durable; "
            f"{least} were to be allowed, {durable} of them durable"
        )
        raise WrongAnswerError(message)
    return held.decisions


@contextlib.contextmanager
def echo(folder: Path, response: pb.CheckResponse) -> Iterator[str]:
    """Run the server that answers every check with one fixed response; yield where."""
    folder.mkdir(parents=True, exist_ok=True)
    answer, socket, ready = folder / "answer", folder / "echo.sock", folder / "echo.ready"
    answer.write_bytes(response.SerializeToString())
    ready.unlink(missing_ok=True)
    command = _module("echo", str(answer), f"unix:{socket}", str(ready))
    with process(command, folder / "echo.log") as running:
        _await(running, ready.exists, folder / "echo.log")
        yield f"unix:{socket}"


class Sink(NamedTuple):
    """A running receiver of telemetry."""

    endpoint: str
    counts: Path

    def require_spans(self) -> int:
        """Return how many exports of spans arrived, once the receiver has stopped; none is an error."""
        return self._require("spans")

    def require_logs(self) -> int:
        """Return how many exports of log records arrived, as `require_spans`."""
        return self._require("logs")

    def _require(self, what: str) -> int:
        exports = int(json.loads(self.counts.read_text(encoding="ascii"))[what])
        if not exports:
            message = f"no {what} were exported, so the workload did not run with {what} on"
            raise WrongAnswerError(message)
        return exports


@contextlib.contextmanager
def sink(folder: Path) -> Iterator[Sink]:
    """Run a process that takes OTLP over loopback and drops it."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, counts = folder / "sink.port", folder / "sink.counts"
    ready.unlink(missing_ok=True)
    with process(_module("sink", str(ready), str(counts)), folder / "sink.log") as running:
        _await(running, lambda: ready.exists() and ready.stat().st_size > 0, folder / "sink.log")
        yield Sink(f"http://127.0.0.1:{ready.read_text(encoding='ascii')}", counts)


@contextlib.contextmanager
def process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process; at the end ask it to stop, and insist if it does not."""
    with log.open("ab") as output:
        running = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(_LONGEST_STOP_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.servers.{name}", *arguments]


def run_module(name: str, *arguments: str, shown: bool = False) -> str:
    """Run one of the helper processes to its end; return what it printed.

    `shown`: what it says of its progress, and of errors, is seen at once.
    """
    said = None if shown else subprocess.PIPE
    command = _module(name, *arguments)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True, check=False)
    if done.returncode:
        message = f"`{name}` failed: {(done.stderr or 'see above')[-2000:]}"
        raise ProcessFailedError(message)
    return done.stdout


@contextlib.contextmanager
def module(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of the helper processes that is talked to by its standard input and output."""
    with subprocess.Popen(
        _module(name, *arguments), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.terminate()


def _await(running: subprocess.Popen[bytes], condition: Callable[[], bool], log: Path) -> None:
    """Wait until a condition holds while the process lives."""
    deadline = time.perf_counter() + _LONGEST_START_S
    while not condition():
        if running.poll() is not None or time.perf_counter() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            message = f"a process did not come to serve (exit code {running.returncode}): {said}"
            raise ProcessFailedError(message)
        time.sleep(_POLL_S)
