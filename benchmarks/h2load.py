"""Load from h2load (Debian: nghttp2-client), a generator in C that takes next to nothing of the machine.

It knows nothing of gRPC: the body of every request is one prepared message in gRPC's framing, and every answer is
HTTP 200. What the answers say is judged by their size, which tells an error and most denials at once; the workload
looks into the sidecar's journal besides.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

from sessionpdp.v1 import decision_pb2 as pb

from benchmarks.driving import Sample, sample
from benchmarks.outcome import WrongAnswerError

_METHOD = "/sessionpdp.v1.DecisionService/Check"
_FRAME_HEADER = 5
_VARYING = 8
"""Bytes by which two allows of one question may differ: the nanoseconds of two instants are of varying length."""
_DATA = re.compile(r"traffic: .*\((\d+)\) data")
_REQUESTS = re.compile(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored")
_FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s),")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def available() -> bool:
    """Whether h2load is installed."""
    return shutil.which("h2load") is not None


def drive(
    target: str, check: pb.CheckRequest, allow: pb.CheckResponse, callers: int, calls: int, folder: Path
) -> Sample:
    """Return the figures of so many streams at once on one connection; `allow` is the answer that is expected."""
    return _run(target, check, allow, calls, folder, "-c", "1", "-m", str(callers))


def pace(
    target: str, check: pb.CheckRequest, allow: pb.CheckResponse, callers: int, every_s: float, turns: int, folder: Path
) -> Sample:
    """Return the figures of connections that each ask so many times, once in so many seconds, at staggered times.

    `every_s` must be that of a whole number of calls a second. The rate is what was answered.
    """
    a_second = str(round(1 / every_s))
    staggered = ["-r", "1", "--rate-period", f"{every_s / callers * 1000:.0f}ms"]
    return _run(target, check, allow, callers * turns, folder, "-c", str(callers), "--rps", a_second, *staggered)


def _run(target: str, check: pb.CheckRequest, allow: pb.CheckResponse, calls: int, folder: Path, *how: str) -> Sample:
    body, log = folder / "h2load.body", folder / "h2load.log"
    data = check.SerializeToString()
    body.write_bytes(struct.pack(">BI", 0, len(data)) + data)
    log.unlink(missing_ok=True)
    command = ["h2load", "-n", str(calls), *how, "-d", str(body), f"--log-file={log}"]
    for header in ("te: trailers", "content-type: application/grpc"):
        command += ["-H", header]
    command += ["-B", target, f"http://localhost{_METHOD}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _require_allows(done.stdout + done.stderr, calls, len(allow.SerializeToString()) + _FRAME_HEADER)
    latencies = [_seconds(line, done.stdout) for line in log.read_text(encoding="ascii").splitlines()]
    return sample(latencies, _elapsed(done.stdout))


def _require_allows(said: str, calls: int, size: int) -> None:
    requests, data = _REQUESTS.search(said), _DATA.search(said)
    if requests is None or data is None or int(requests[1]) != calls:
        message = f"h2load did not get {calls} answers: {said[-2000:]}"
        raise WrongAnswerError(message)
    mean = int(data[1]) / calls
    if abs(mean - size) > _VARYING:
        message = f"answers to h2load have {mean:.1f} bytes, an allow has {size}: they are something else"
        raise WrongAnswerError(message)


def _seconds(line: str, said: str) -> float:
    columns = line.split("\t")
    if columns[1] != "200":
        message = f"an answer to h2load has status {columns[1]}: {said[-1000:]}"
        raise WrongAnswerError(message)
    return int(columns[2]) / 1e6


def _elapsed(said: str) -> float:
    finished = _FINISHED.search(said)
    if finished is None:
        message = f"h2load does not say how long it took: {said[-1000:]}"
        raise WrongAnswerError(message)
    return float(finished[1]) * _UNITS[finished[2]]
