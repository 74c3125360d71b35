"""A steady, mixed load on a sidecar in a process of its own, what it answered, and how it was doing meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from asyncio import Task
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from sessionpdp.v1 import decision_pb2 as pb

from tests.integration.serving import PATIENCE_S, Channels, code_of
from tests.scraping import Scrape

CALLERS = 24
PAUSE_S = 0.05
"""Between two questions of a caller: together some four hundred a second."""
TIMEOUT_S = 2.0
UNAVAILABLE = "EVIDENCE_UNAVAILABLE"
NO_ANSWER = ""


class Question(NamedTuple):
    """One of the questions asked again and again."""

    request: pb.CheckRequest
    code: str
    """Of the answer, if nothing is wrong."""
    durable: bool


class Answer(NamedTuple):
    """What one question got."""

    question: Question
    asked: float
    answered: float
    id: str
    code: str
    message: str


class Sample(NamedTuple):
    """How the sidecar is doing."""

    at: float
    memory: int
    """Bytes resident, of the process and its children."""
    figures: Scrape


class Phase(NamedTuple):
    """What was answered and measured between two moments."""

    name: str
    began: float
    ended: float
    answers: Sequence[Answer]
    """All that were asked and answered in between."""
    samples: Sequence[Sample]

    def codes(self, *, durable: bool) -> set[str]:
        """Return the codes of the answers to questions of one class."""
        return {answer.code for answer in self.answers if answer.question.durable is durable}

    def most(self, name: str) -> float:
        """Return the largest value that a metric had."""
        return max(sample.figures.total(name) for sample in self.samples)

    def least(self, name: str) -> float:
        """Return the smallest value that a metric had."""
        return min(sample.figures.total(name) for sample in self.samples)

    def growth(self, name: str, **labels: str) -> float:
        """Return how far a metric went up."""
        first, last = self.samples[0].figures, self.samples[-1].figures
        return last.total(name, **labels) - first.total(name, **labels)

    @property
    def memory(self) -> int:
        """The most bytes that were resident."""
        return max(sample.memory for sample in self.samples)

    def row(self) -> str:
        """Return the phase as a row of a table."""
        seconds = self.ended - self.began
        denied = sum(answer.code == UNAVAILABLE for answer in self.answers)
        silent = sum(answer.code == NO_ANSWER for answer in self.answers)
        lost = self.samples[-1].figures.total("pdp_telemetry_lost_total")
        return (
            f"{self.name:<22}{seconds:>5.0f}{len(self.answers) / seconds:>8.0f}{self._times(durable=True):>17}"
            f"{self._times(durable=False):>17}{denied:>8}{silent:>7}{self.memory / 2**20:>8.1f}"
            f"{self.most('pdp_journal_queue'):>7.0f}{self.most('pdp_telemetry_behind'):>8.0f}{lost:>8.0f}"
        )

    def _times(self, *, durable: bool) -> str:
        """Return median and 99th percentile, in milliseconds."""
        times = [answer.answered - answer.asked for answer in self.answers if answer.question.durable is durable]
        if len(times) < 2:
            return "-"
        cuts = statistics.quantiles(times, n=100)
        return f"{cuts[49] * 1000:.1f} {cuts[98] * 1000:.1f}"


HEADER = (
    f"{'phase':<22}{'s':>5}{'rate':>8}{'durable p50 p99':>17}{'buffer. p50 p99':>17}{'denied':>8}{'silent':>7}"
    f"{'MiB':>8}{'held':>7}{'behind':>8}{'lost':>8}"
)


class Load:
    """Callers that ask in turn, and a look at the sidecar every second."""

    def __init__(self, server: Channels, questions: Sequence[Question], process_id: int, metrics_port: int) -> None:
        self.answers: list[Answer] = []
        self.samples: list[Sample] = []
        self.phases: list[Phase] = []
        self._server = server
        self._questions = itertools.cycle(questions)
        self._process_id = process_id
        self._metrics_port = metrics_port
        self._asking: list[Task[None]] = []
        self._looking: Task[None] | None = None
        self._ending = asyncio.Event()

    def start(self) -> None:
        """Begin asking and looking."""
        self._asking = [asyncio.create_task(self._ask_again(caller)) for caller in range(CALLERS)]
        self._looking = asyncio.create_task(self._look_again())

    async def stop(self) -> None:
        """Ask no more; return once every question is answered."""
        self._ending.set()
        await asyncio.gather(*self._asking)

    async def close(self) -> None:
        """Look no more."""
        self._ending.set()
        tasks = [*self._asking, *([self._looking] if self._looking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def phase(self, name: str, during: Awaitable[object]) -> Phase:
        """Return what happens while something is awaited."""
        began = time.monotonic()
        await during
        await self.look()
        ended = time.monotonic()
        answers = [one for one in self.answers if began <= one.asked and one.answered <= ended]
        samples = [one for one in self.samples if began <= one.at <= ended]
        self.phases.append(Phase(name, began, ended, answers, samples))
        return self.phases[-1]

    async def look(self) -> Scrape:
        """Return how the sidecar is doing now."""
        figures = await asyncio.to_thread(Scrape, self._metrics_port)
        self.samples.append(Sample(time.monotonic(), memory_of(self._process_id), figures))
        return figures

    async def until(self, holds: Callable[[Scrape], bool], patience_s: float = 12 * PATIENCE_S) -> None:
        """Wait until a scrape is as it should be."""
        async with asyncio.timeout(patience_s):
            while not holds(await self.look()):  # noqa: ASYNC110  # a scrape tells no events
                await asyncio.sleep(0.2)

    async def _look_again(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(1)

    async def _ask_again(self, caller: int) -> None:
        await asyncio.sleep(PAUSE_S * caller / CALLERS)  # not all at once
        while not self._ending.is_set():
            self.answers.append(await self._ask(next(self._questions)))
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, question: Question) -> Answer:
        asked = time.monotonic()
        try:
            decision = (await self._server.decisions.Check(question.request, timeout=TIMEOUT_S)).decision
        except grpc.aio.AioRpcError as error:
            return Answer(question, asked, time.monotonic(), "", NO_ANSWER, str(error.details()))
        reason = decision.reasons[0].message
        return Answer(question, asked, time.monotonic(), decision.decision_id, code_of(decision), reason)


def memory_of(process_id: int) -> int:
    """Return the bytes resident of a process and its children; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
        resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return 0
    return int(resident) * 1024 + sum(memory_of(child) for child in _children(process_id))


def _children(process_id: int) -> Iterator[int]:
    for listed in Path(f"/proc/{process_id}/task").glob("*/children"):
        try:
            yield from map(int, listed.read_text().split())
        except OSError:
            continue  # a thread that has ended
