"""Starting the processes of a workload, waiting until they serve, and stopping them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2
from sessionpdp.v1 import decision_pb2 as pb

from benchmarks.conditions import ROOT
from benchmarks.outcome import WrongAnswerError
from benchmarks.world import policy_text

_POLL_S = 0.005
_LONGEST_START_S = 180.0
_LONGEST_STOP_S = 30.0
_HEALTH = "/grpc.health.v1.Health/Check"


class ProcessFailedError(RuntimeError):
    """A process did not do what it was started for; the message ends with what it said last."""


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

    def processor_s(self) -> tuple[float, float]:
        """Return the processor time so far of the event loop's thread, and of all other threads."""
        pid = self.process.pid
        threads = {int(path.name): _processor_s(path) for path in Path(f"/proc/{pid}/task").iterdir()}
        return threads.pop(pid), sum(threads.values())


def _processor_s(thread: Path) -> float:
    fields = (thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    message = f"process {pid} has no resident memory"
    raise ProcessFailedError(message)


@contextlib.contextmanager
def sidecar(
    folder: Path, *, conditions: int = 0, otlp_endpoint: str = "", sample_ratio: float | None = None
) -> Iterator[Sidecar]:
    """Run `pdp serve` on a folder, which may hold a database already, with the twenty policies of the world."""
    config = _configure(folder, conditions, otlp_endpoint, sample_ratio)
    command = [str(Path(sys.executable).parent / "pdp"), "serve", "--config", str(config), "--json"]
    (folder / "pdp.sock").unlink(missing_ok=True)  # an earlier run may have left it, and it is waited for
    started = time.perf_counter()
    with process(command, folder / "sidecar.log") as running:
        _await_serving(running, folder)
        yield Sidecar(running, folder, time.perf_counter() - started)


def _configure(folder: Path, conditions: int, otlp_endpoint: str, sample_ratio: float | None) -> Path:
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    (policies / "policies.yaml").write_text(policy_text(conditions), encoding="utf-8")
    telemetry: dict[str, object] = {"otlp_endpoint": otlp_endpoint} if otlp_endpoint else {}
    if sample_ratio is not None:
        telemetry["sample_ratio"] = sample_ratio
    settings = {"data_dir": str(folder), "policies": [str(policies)], "telemetry": telemetry}
    config = folder / "pdp.yaml"
    config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
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


def require_allows_on_record(folder: Path, least: int) -> int:
    """Return how many decisions the journal of a stopped sidecar holds: all of them allows, and at least so many."""
    decisions = allows = 0
    for segment in sorted((folder / "journal").glob("*.jsonl")):
        with segment.open("rb") as lines:
            for line in lines:
                decisions += b'"kind":"decision"' in line
                allows += b'"outcome":"allow"' in line
    if decisions != allows or allows < least:
        message = f"the journal holds {decisions} decisions of which {allows} are allows; {least} were to be allowed"
        raise WrongAnswerError(message)
    return decisions


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
        calls = int(self.counts.read_text(encoding="ascii"))
        if not calls:
            message = "no span was exported, so the workload did not run with spans on"
            raise WrongAnswerError(message)
        return calls


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


def run_module(name: str, *arguments: str) -> str:
    """Run one of the helper processes to its end; return what it printed."""
    done = subprocess.run(_module(name, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"`{name}` failed: {done.stderr[-2000:]}"
        raise ProcessFailedError(message)
    return done.stdout


def _await(running: subprocess.Popen[bytes], condition: Callable[[], bool], log: Path) -> None:
    """Wait until a condition holds while the process lives."""
    deadline = time.perf_counter() + _LONGEST_START_S
    while not condition():
        if running.poll() is not None or time.perf_counter() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            message = f"a process did not come to serve (exit code {running.returncode}): {said}"
            raise ProcessFailedError(message)
        time.sleep(_POLL_S)
