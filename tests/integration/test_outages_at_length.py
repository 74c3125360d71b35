"""Minutes of outage under a steady load: the collector, then the disk's room, then its speed; and all by itself back.

`PDP_OUTAGE_SCALE` makes all phases so many times as long; below 1 no routine allow is given up.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from sessionpdp.v1 import decision_pb2 as pb

from pdp.core.decide import decide
from pdp.core.model import Attribute, Instant
from pdp.core.snapshot import Readiness, Snapshot
from pdp.doors.wire import request_of
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.record import DecisionRecord
from pdp.evidence.trace import Ids
from tests.integration.collector_process import CollectorProcess
from tests.integration.serving import ServerProcess, check, world
from tests.integration.steady_load import HEADER, NO_ANSWER, UNAVAILABLE, Answer, Load, Phase, Question
from tests.ports import free_port
from tests.scraping import Scrape

SCALE = float(os.environ.get("PDP_OUTAGE_SCALE", "1"))
BACKLOG = 16_384
"""Records that the export may be behind: few enough to be passed within the outage."""
BUFFER = 4_000
"""Records that may wait for the disk: few enough to be reached within the outage."""
ROOM, BALLAST = 512 * 1024 * 1024, "ballast"
"""Bytes of the journal's disk, and the file that fills it."""
ALLOWANCE = 32 * 1024 * 1024
"""Bytes for what no setting of ours bounds: buffers, what the allocator wastes. A backlog in memory would take more."""
NO_ROOM = f"{BUFFER} records wait for the disk"
"""What is said of an answer that leaves no record."""
POLICIES = """\
policy: privileged
match: {actions: ["rows.drop"], resources: ["database:**"]}
deny: [{name: change freeze, cel: "has(context.freeze)"}]
evidence: durable
"""
SLOW_SYNC = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (access(getenv("SLOW_WHILE"), F_OK) == 0) usleep(300000);
    return real(file);
}
"""
"""A library before that of C, which makes syncs slow while a file is there."""


def questions() -> list[Question]:
    """Return what is asked in turn: half of it routine allows, of which the collector may miss some."""
    drop = pb.Action(name="rows.drop")
    frozen = check(action=drop)
    frozen.context.update({"freeze": True})
    durable = Question(check(action=drop), "GRANTED", durable=True)
    routine = Question(check(), "GRANTED", durable=False)
    denied = Question(check(session_id="none"), "SESSION_UNKNOWN", durable=False)
    return [
        durable,
        routine,
        Question(frozen, "POLICY_DENIED", durable=True),
        routine,
        durable,
        routine,
        denied,
        routine,
    ]


class Disk(NamedTuple):
    """The small disk of the journal; nothing if none could be mounted."""

    journal: Path
    mounted: bool

    async def keep_full(self, seconds: float) -> None:
        """Leave no room, also where some is given back meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.to_thread(self.fill)
            await asyncio.sleep(0.05)

    def fill(self) -> None:
        """Take all the room there is."""
        for piece in (1024 * 1024, 4096):
            with (self.journal / BALLAST).open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(piece))

    def empty(self) -> None:
        """Give the room back."""
        (self.journal / BALLAST).unlink()


class Slowness(NamedTuple):
    """Makes the sidecar's syncs slow, while the library before that of C sees a file."""

    switch: Path

    def begin(self) -> None:
        """Make them slow."""
        self.switch.touch()

    def end(self) -> None:
        """Make them fast again."""
        self.switch.unlink()


@pytest.fixture
def disk(home: Path) -> Iterator[Disk]:
    """Return where the journal will be, on a file system of its own if this user may mount one."""
    journal = home / "d" / "journal"
    journal.mkdir(mode=0o700, parents=True)
    (home / "d").chmod(0o700)
    options = f"size={ROOM},mode=0700,uid={os.getuid()}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(journal)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield Disk(journal, mounted)
    if mounted:
        subprocess.run(["umount", "--lazy", str(journal)], check=True)


@pytest.fixture
def slowness(home: Path, monkeypatch: pytest.MonkeyPatch) -> Slowness | None:
    """Return what makes the sidecar's syncs slow; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library, switch = home / "slow.so", home / "slow"
    library.with_suffix(".c").write_text(SLOW_SYNC)
    command = [compiler, "-shared", "-fPIC", "-o", library, library.with_suffix(".c"), "-ldl"]
    subprocess.run(command, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("SLOW_WHILE", str(switch))
    return Slowness(switch)


@pytest.fixture
def collector(home: Path) -> Iterator[CollectorProcess]:
    """Return a collector that listens."""
    collector = CollectorProcess(home / "arrived")
    collector.back()
    yield collector
    collector.away()


class Story(NamedTuple):
    """A sidecar under load, and what it rests on."""

    load: Load
    process: ServerProcess
    collector: CollectorProcess
    disk: Disk
    slowness: Slowness | None

    async def phases(self) -> None:
        """Go through all of them."""
        baseline = await self.load.phase("baseline", asyncio.sleep(30 * SCALE))
        assert self.troubles(baseline) == set()
        await self.collector_goes(baseline)
        if self.disk.mounted:
            await self.disk_fills(baseline)
        if self.slowness is not None:
            await self.disk_slows(self.slowness)
        after = await self.load.phase("all is well", asyncio.sleep(10 * SCALE))
        assert self.troubles(after) == set()

    def troubles(self, phase: Phase) -> set[str]:
        """Return the metrics by which a phase shows trouble; every answer must be right without any."""
        counted = ("pdp_journal_errors_total", "pdp_telemetry_failures_total", "pdp_telemetry_lost_total")
        found = {name for name in counted if phase.growth(name)}
        found |= {"pdp_journal_lag_seconds"} if phase.least("pdp_journal_lag_seconds") > 0.1 else set()
        found |= {"pdp_telemetry_behind"} if phase.least("pdp_telemetry_behind") > BACKLOG / 4 else set()
        if not found & {"pdp_journal_errors_total"}:
            assert wrong(phase) == []
        return found

    async def collector_goes(self, baseline: Phase) -> None:
        """Be further behind than routine allows may be: that costs no decision, nor memory: the journal has it."""
        self.collector.away()
        away = await self.load.phase("collector away", asyncio.sleep(120 * SCALE))
        assert "pdp_telemetry_failures_total" in self.troubles(away)
        if SCALE >= 1:
            assert away.growth("pdp_telemetry_lost_total") > 0
            assert away.most("pdp_telemetry_behind") > BACKLOG
        self.collector.back()
        back = await self.load.phase("collector back", self.load.until(caught_up))
        assert grown_when_full(away) <= ALLOWANCE / 4
        assert max(away.memory, back.memory) - baseline.memory <= ALLOWANCE

    async def disk_fills(self, baseline: Phase) -> None:
        """Have what is durable denied, and what is not answered while memory has room for its record."""
        filling = asyncio.create_task(self.disk.keep_full(33 * SCALE))
        await self.load.phase("disk fills", self.load.until(lambda now: now.total("pdp_journal_queue") > 500))
        full = await self.load.phase("disk full", filling)
        assert full.codes(durable=True) - {NO_ANSWER} == {UNAVAILABLE}
        assert {"GRANTED", "SESSION_UNKNOWN"} <= full.codes(durable=False)
        assert full.growth("pdp_journal_errors_total") > 0
        assert full.growth("pdp_decisions_total", code=UNAVAILABLE) > 0
        assert full.most("pdp_journal_lag_seconds") > 1
        assert full.most("pdp_journal_queue") <= BUFFER
        self.disk.empty()
        await self.load.phase("disk has room", self.load.until(lambda now: now.total("pdp_journal_queue") < 500))
        bound = 2 * BUFFER * bytes_of_a_record() + ALLOWANCE
        assert full.memory - baseline.memory <= bound

    async def disk_slows(self, slowness: Slowness) -> None:
        """Have durable answers wait for their sync, in groups; none is denied."""
        slowness.begin()
        slow = await self.load.phase("syncs are slow", asyncio.sleep(20 * SCALE))
        slowness.end()
        assert wrong(slow) == []
        assert slow.most("pdp_journal_lag_seconds") > 0.1
        assert slow.growth("pdp_journal_errors_total") == 0
        await self.load.phase("syncs are fast", self.load.until(lambda now: now.total("pdp_journal_lag_seconds") < 0.1))

    async def reckon(self) -> str:
        """Compare answers, journal, collector and metrics, now that all is settled; return the sums."""
        await self.load.stop()
        await self.load.until(settled)
        figures = await self.load.look()
        on_record, arrived = Counter(map(id_of, decisions(self.disk.journal))), self.collector.arrived()
        routine = {id_of(one) for one in decisions(self.disk.journal) if is_routine(one)}
        expected = [answer for answer in self.load.answers if answer.code != NO_ANSWER and not unrecorded(answer)]
        assert [answer for answer in expected if on_record[answer.id] != 1] == []
        assert on_record.keys() - routine - arrived.keys() == set()
        lost = routine - arrived.keys()
        assert len(lost) == figures.total("pdp_telemetry_lost_total")
        denied, silent = count(self.load, UNAVAILABLE), count(self.load, NO_ANSWER)
        assert denied <= figures.total("pdp_decisions_total", code=UNAVAILABLE) <= denied + silent
        return (
            f"{len(self.load.answers)} answers, {len(on_record)} decisions on record; {denied} were {UNAVAILABLE}, "
            f"{sum(map(unrecorded, self.load.answers))} of them without room for a record\n"
            f"{len(on_record) - len(routine)} had to arrive and did; {len(lost)} of {len(routine)} routine allows were "
            f"lost and counted; {arrived.total() - len(arrived)} spans came once more"
        )


def decisions(journal: Path) -> Iterator[dict[str, Attribute]]:
    """Yield the decisions on record."""
    records = (entry.record() for entry in read(journal))
    return (record for record in records if record["kind"] == "decision")


def id_of(decision: dict[str, Attribute]) -> str:
    """Return the id of a decision on record."""
    return str(decision["decision_id"])


def is_routine(decision: dict[str, Attribute]) -> bool:
    """Whether a decision on record may be missed by the collector."""
    return decision["outcome"] == "allow" and not decision["durable"]


def count(load: Load, code: str) -> int:
    """Return how many answers had a code."""
    return sum(answer.code == code for answer in load.answers)


def grown_when_full(phase: Phase) -> int:
    """Return by how many bytes memory grew once routine allows were given up; 0 if none ever was."""
    full = [one.memory for one in phase.samples if one.figures.total("pdp_telemetry_lost_total")]
    return max(full) - full[0] if full else 0


def wrong(phase: Phase) -> list[Answer]:
    """Return the answers that are not what they are without trouble."""
    return [answer for answer in phase.answers if answer.code != answer.question.code]


def unrecorded(answer: Answer) -> bool:
    """Whether there was no room for the answer's record, so that it was a denial."""
    return (answer.code, answer.message) == (UNAVAILABLE, NO_ROOM)


def caught_up(now: Scrape) -> bool:
    """Whether the collector has got almost all; under load there is always a little."""
    return now.total("pdp_telemetry_behind") < 1_000


def settled(now: Scrape) -> bool:
    """Whether nothing is on its way."""
    return (now.total("pdp_journal_queue"), now.total("pdp_telemetry_behind")) == (0, 0)


def verify(home: Path) -> str:
    """Return what `pdp journal verify` says of a journal that is intact."""
    command = [Path(sys.executable).parent / "pdp", "journal", "verify", "--data-dir", home / "d"]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout
    return verified.stdout


def bytes_of_a_record() -> float:
    """Return what the record of a routine allow takes in memory, beside the facts it names."""
    snapshot, ids, count = Snapshot(), Ids(), 1_000
    for fact in world():
        snapshot.put(fact)
    snapshot.readiness = Readiness.READY
    wire, now = check().SerializeToString(), Instant(time.time_ns())
    records: list[DecisionRecord] = []
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(count):
        request, at = request_of(pb.CheckRequest.FromString(wire), None), Instant(now + number)
        record = DecisionRecord(
            decision_id=ids.decision_id(), trace=ids.child(None), method="Check", request=request,
            decision=decide(request, snapshot, at), started_at=at, ended_at=Instant(at + 1),
        )  # fmt: skip
        records.append(record)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / count


def told(story: Story) -> Iterator[str]:
    """Yield what was measured, line by line."""
    yield HEADER
    yield from (phase.row() for phase in story.load.phases)
    if not story.disk.mounted:
        yield "disk full: left out, for this user may not mount a file system"
    if story.slowness is None:
        yield "syncs are slow: left out, for there is no C compiler; tests with a faulty disk hold it"
    flat = max(map(grown_when_full, story.load.phases[1:2]), default=0)
    yield f"memory: a record takes {bytes_of_a_record():.0f} bytes, the allowance is {ALLOWANCE / 2**20:.1f} MiB"
    yield f"while the collector was away and routine allows were given up, it grew by {flat / 2**20:.1f} MiB"


@pytest.mark.slow
async def test_outages_cost_what_policy_says_and_end_by_themselves(
    launch: Callable[..., ServerProcess],
    collector: CollectorProcess,
    disk: Disk,
    slowness: Slowness | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Memory stays bounded, what must arrive does, what is lost is counted, and the figures show each of them."""
    port = free_port()
    telemetry = {"otlp_endpoint": collector.endpoint, "sample_ratio": 1.0, "prometheus_port": port}
    telemetry["max_backlog"] = BACKLOG
    process = launch({"telemetry": telemetry, "policies": ["policies"], "journal": {"max_buffered": BUFFER}})
    (process.home / "policies").mkdir()
    (process.home / "policies" / "privileged.yaml").write_text(POLICIES)
    await process.start()
    server = process.connect()
    await server.apply(*world())
    load = Load(server, questions(), process.process.pid, port)
    story = Story(load, process, collector, disk, slowness)
    load.start()
    try:
        await story.phases()
        sums = await story.reckon()
    finally:
        await load.close()
        with capsys.disabled():
            sys.stdout.write("\n" + "\n".join(told(story)) + "\n")
    await server.close()
    verified = await asyncio.to_thread(verify, process.home)
    with capsys.disabled():
        sys.stdout.write(f"{sums}\n{verified}")
