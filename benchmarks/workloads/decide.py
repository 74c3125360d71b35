"""`decide`: the core and the door's conversions, in process, by pytest-benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.conditions import ROOT
from benchmarks.outcome import TIMES, Budget, Outcome, Row, at_most, ratios, row, row_beside, spaced
from benchmarks.processes import ProcessFailedError
from benchmarks.scale import Scale

HOW = """\
`pytest benchmarks` (pytest-benchmark), once per run; a figure is the median over the runs of the medians of each.
Twenty policies of which three apply; an identity, a session with an idle timeout, a task, a certified entitlement, an
approval with a ticket and an independent approver; as many revocations as sessions. Each round answers a thousand
questions that were drawn anew over **all** sessions, so no session is hot in the processor's caches because it is asked
all the time; a single session asked again and again would look faster. The timer is the thread's processor time.
Recording and counting uses are not part of `decide`; see `unary` and `stream` for the whole path."""

_NO_OPTIONS = ("-o", "addopts=--import-mode=importlib", "-p", "no:randomly", "-p", "no:cacheprovider", "-q")
_MICROSECONDS = 1e6
_BAR, _BAR_PER_CONDITION, _BAR_OF_SIZE = 5.0, 8.0, 1.3

_MICRO = {
    "test_decide_with_lasting_revocations": "decide, 1 000 sessions, revocations without an end",
    "test_decide_with_a_credential": "decide, 1 000 sessions, with a credential",
    "test_denial": "decide, 1 000 sessions, denied for two reasons",
    "test_case": "gathering the facts of a question",
    "test_end_of_allow[usual]": "end of an allow, the usual way",
    "test_end_of_allow[search]": "end of an allow, by search",
    "test_scope[exact]": "scope: one exact pattern",
    "test_scope[exact-of-four]": "scope: four exact patterns",
    "test_scope[prefix]": "scope: `database:prod/**`",
    "test_scope[shape]": "scope: `database:*/users`",
    "test_scope_index[known-20]": "index of 20 scopes, a value seen lately",
    "test_scope_index[new-20]": "index of 20 scopes, a new value",
    "test_scope_index[new-2000]": "index of 2 000 scopes, a new value",
    "test_decode": "door: bytes to message (protobuf)",
    "test_request_of": "door: message to request",
    "test_lawful_at_a_glance": "door: lawful at a glance",
    "test_faults_of_request": "door: lawful, field by field",
    "test_fill_decision": "door: decision to message, in place",
    "test_decision_by_constructor": "door: decision to message, by constructor",
    "test_encode": "door: message to bytes (protobuf)",
}


class _Stats(Struct):
    median: float


class _Benchmark(Struct):
    name: str
    stats: _Stats
    extra_info: dict[str, float | str]


class _Report(Struct):
    benchmarks: list[_Benchmark]


def run(scale: Scale, folder: Path) -> Outcome:
    """Run the workload."""
    runs = [_medians(scale, folder / f"decide-{number}.json") for number in range(scale.runs)]
    floor = row("a call of an empty function", "µs", _of("test_empty_calls", runs))
    rows = [floor, *(_decide_rows(scale, runs, floor))]
    rows.append(row_beside("cedarpy, 20 policies parsed beforehand", "µs", _of("test_cedar", runs), floor))
    rows += [row_beside(label, "µs", _of(name, runs), floor) for name, label in _MICRO.items()]
    return Outcome(
        workload="decide", title="The decision", how=HOW, rows=rows, budgets=_budgets(scale, runs), smoke=scale.smoke
    )


def _decide_rows(scale: Scale, runs: Sequence[Mapping[str, float]], floor: Row) -> list[Row]:
    return [
        row_beside(
            f"decide, {spaced(sessions)} sessions and revocations, {_conditions(conditions)}",
            "µs",
            _of(_name(sessions, conditions), runs),
            floor,
        )
        for sessions in scale.sizes
        for conditions in (0, 1, 2)
    ]


def _budgets(scale: Scale, runs: Sequence[Mapping[str, float]]) -> list[Budget]:
    few, many = scale.sizes[0], scale.sizes[-1]
    plain, one, two = (_of(_name(many, conditions), runs) for conditions in (0, 1, 2))
    at = f"at {spaced(many)} sessions and revocations"
    growth = ratios(plain, _of(_name(few, 0), runs))
    return [
        at_most(f"`decide` without CEL, {at}", _BAR, "µs", plain),
        at_most(f"the first CEL condition, {at}", _BAR_PER_CONDITION, "µs", _differences(one, plain)),
        at_most(f"the second CEL condition, {at}", _BAR_PER_CONDITION, "µs", _differences(two, one)),
        at_most(f"{spaced(many)} sessions against {spaced(few)}", _BAR_OF_SIZE, TIMES, growth),
    ]


def _differences(more: Sequence[float], less: Sequence[float]) -> list[float]:
    return [above - below for above, below in zip(more, less, strict=True)]


def _name(sessions: int, conditions: int) -> str:
    return f"test_decide[{sessions}-{conditions}]"


def _conditions(count: int) -> str:
    return ("no CEL", "one CEL condition", "two CEL conditions")[count]


def _of(name: str, runs: Sequence[Mapping[str, float]]) -> list[float]:
    return [run[name] for run in runs]


def _medians(scale: Scale, path: Path) -> dict[str, float]:
    """Run pytest once; return the median of each benchmark in microseconds."""
    sizes = ",".join(map(str, scale.sizes))
    command = [sys.executable, "-m", "pytest", "benchmarks", *_NO_OPTIONS, f"--sessions={sizes}"]
    command += [f"--rounds={scale.rounds}", f"--benchmark-json={path}", "--benchmark-timer=time.thread_time"]
    if scale.smoke:
        command += ["--benchmark-max-time=0.01", "--benchmark-min-rounds=2", "--benchmark-calibration-precision=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"the benchmarks failed: {done.stdout[-4000:]}{done.stderr[-2000:]}"
        raise ProcessFailedError(message)
    report = msgspec.convert(json.loads(path.read_text(encoding="utf-8")), _Report)
    return {one.name: _median(one) for one in report.benchmarks}


def _median(one: _Benchmark) -> float:
    return one.stats.median * _MICROSECONDS / float(one.extra_info.get("per_round", 1))
