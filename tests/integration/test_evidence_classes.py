"""Durable and buffered evidence over the real doors, while the disk is full, slow, and back again."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from grpc_health.v1 import health_pb2
from sessionpdp.v1 import decision_pb2 as pb

from pdp.core.model import Approval, ApprovalKind, ApprovalState, Instant, Task
from pdp.core.scope import ActionScope, ResourceScope
from pdp.evidence.journal.faulty_disk import FaultyDisk
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.seals.verifying import Verified, verify
from pdp.settings import Journal, Telemetry
from tests.integration.conftest import Serve
from tests.integration.serving import HOUR, PATIENCE_S, Running, check, code_of, codes_of, refusal, session, until
from tests.ports import free_port

POLICIES = """\
- policy: privileged
  match: {actions: ["rows.drop"], resources: ["database:**"]}
  deny: [{name: change freeze, cel: "has(context.freeze)"}]
  evidence: durable
- policy: routine
  match: {actions: ["rows.read"], resources: ["database:**"]}
  deny: [{name: change freeze, cel: "has(context.freeze)"}]
  evidence: buffered
- policy: emergencies
  match: {actions: ["rows.mend"], resources: ["database:**"]}
  require: {approval: {kinds: [standard, break_glass]}}
"""
UNAVAILABLE = "EVIDENCE_UNAVAILABLE"
ROOM, BALLAST = 4 * 1024 * 1024, "ballast"
"""Bytes of the small disk, and the file that fills it."""


def asked(action: str = "rows.read", *, freeze: bool = False, session_id: str = "s-1") -> pb.CheckRequest:
    """Return a request."""
    request = check(action=pb.Action(name=action), session_id=session_id)
    if freeze:
        request.context.update({"freeze": True})
    return request


Case: TypeAlias = "tuple[str, pb.CheckRequest]"
"""A request, behind the code of its decision without trouble."""

DURABLE: Sequence[Case] = (
    ("GRANTED", asked("rows.drop")),
    ("POLICY_DENIED", asked("rows.drop", freeze=True)),
    ("SESSION_UNKNOWN", asked("rows.drop", session_id="s-9")),
    ("GRANTED", asked(session_id="limited")),
    ("GRANTED_BREAK_GLASS", asked("rows.mend", session_id="emergency")),
)
BUFFERED: Sequence[Case] = (
    ("GRANTED", asked()),
    ("POLICY_DENIED", asked(freeze=True)),
    ("SESSION_UNKNOWN", asked(session_id="s-9")),
)
ALL = (*DURABLE, *BUFFERED)


def emergency() -> Approval:
    """Return a break-glass."""
    now = time.time_ns()
    return Approval(
        id="bg-1",
        kind=ApprovalKind.BREAK_GLASS,
        state=ApprovalState.APPROVED,
        requested_by="on-call-engineer",
        approved_by="on-call-engineer",
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:**"]),
        not_before=Instant(now - HOUR),
        expires_at=Instant(now + HOUR),
        review_due=Instant(now + HOUR),
    )


class Story:
    """A sidecar whose journal's disk fails when it is told to, and what it answered."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.answered: list[pb.Decision] = []
        self.most_held = 0

    @property
    def journal(self) -> Path:
        """Where the records are."""
        return self.server.sidecar.settings.journal_dir

    async def ask(self, request: pb.CheckRequest, timeout_s: float = PATIENCE_S) -> str:
        """Return the primary code of the answer."""
        answer = await self.server.decisions.Check(request, timeout=timeout_s)
        self.answered.append(answer.decision)
        self.most_held = max(self.most_held, self.server.sidecar.evidence.status().held)
        return code_of(answer.decision)

    async def codes(self, cases: Sequence[Case]) -> list[str]:
        """Return the primary codes of several requests."""
        return [await self.ask(request) for _, request in cases]

    async def recover(self) -> None:
        """Wait until nothing is left to be written."""
        evidence = self.server.sidecar.evidence
        await until(lambda: evidence.healthy and evidence.status().held == 0)

    def recorded(self) -> list[dict[str, Any]]:
        """Return the records of a chain that is whole."""
        assert isinstance(verify(self.journal), Verified)
        return [entry.record() for entry in read(self.journal)]  # type: ignore[misc]

    def missing(self, codes: Sequence[str]) -> list[str]:
        """Return the ids of answers with such codes that are not exactly once on record."""
        counts = Counter(record.get("decision_id") for record in self.recorded())
        given = [decision.decision_id for decision in self.answered if code_of(decision) in codes]
        assert given != []
        return [id_ for id_ in given if counts[id_] != 1]

    async def health_is(self, *, serving: bool) -> None:
        """Wait until the health service says so of evidence."""
        watch = self.server.health.Watch(health_pb2.HealthCheckRequest(service="evidence"), timeout=PATIENCE_S)
        while ((await watch.read()).status == health_pb2.HealthCheckResponse.SERVING) is not serving:
            pass
        watch.cancel()


async def begun(serve: Serve, home: Path, disk: FaultyDisk | None = None, **groups: object) -> Story:
    """Start a sidecar with policies of both classes."""
    (home / "policies").mkdir()
    (home / "policies" / "classes.yaml").write_text(POLICIES)
    server = await serve(disk=disk, changes={"policies": [str(home / "policies")], **groups})
    await server.apply(emergency())
    await server.apply(session("emergency", approval="bg-1"), session("limited", max_uses=10**6))
    return Story(server)


async def figures(port: int) -> Callable[..., float]:
    """Return what tells the sum of a metric, or of those with a label's value, as they are now."""

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as page:
            return str(page.read().decode())

    lines = (await asyncio.to_thread(scrape)).splitlines()

    def total(name: str, label: str = "") -> float:
        ours = [line for line in lines if re.match(rf"{name}(\{{|$| )", line) and label in line]
        return sum(float(re.sub(r"^[^ {]+(\{.*?\})? ", "", line).split()[0]) for line in ours)

    return total


def plain(cases: Sequence[Case]) -> list[str]:
    """Return the codes without trouble."""
    return [code for code, _ in cases]


async def test_with_a_full_disk_durable_decisions_are_denied_and_buffered_ones_given(serve: Serve, home: Path) -> None:
    """Allows and denials alike; what was given is on record once there is room, and all is as before by itself."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    assert await story.codes(ALL) == plain(ALL)
    disk.fill()
    assert await story.codes(DURABLE) == [UNAVAILABLE] * len(DURABLE)
    assert await story.codes(BUFFERED) == plain(BUFFERED)
    assert story.server.sidecar.evidence.status().errors > 0
    disk.mend()
    await story.recover()
    assert await story.codes(ALL) == plain(ALL)
    await story.recover()
    assert story.missing([*plain(ALL), UNAVAILABLE]) == []


@pytest.mark.parametrize("door", ["CheckBatch", "CheckStream"])
async def test_in_one_batch_each_decision_has_its_own_class(serve: Serve, home: Path, door: str) -> None:
    """What must wait for the disk keeps nothing else from being given."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    checks = [request for _, request in ALL]
    disk.fill()
    if door == "CheckBatch":
        answer = await story.server.decisions.CheckBatch(pb.CheckBatchRequest(checks=checks), timeout=PATIENCE_S)
        codes = codes_of(answer.decisions)
    else:
        stream = story.server.decisions.CheckStream(timeout=PATIENCE_S)
        await stream.write(pb.CheckStreamRequest(correlation_id=1, checks=checks))
        codes = codes_of((await stream.read()).decisions)
        stream.cancel()
    assert codes == [UNAVAILABLE] * len(DURABLE) + plain(BUFFERED)


async def test_the_class_of_each_decision_is_on_record(serve: Serve, home: Path) -> None:
    """So that an auditor can tell what was certain when it was answered."""
    story = await begun(serve, home)
    await story.codes(DURABLE)
    await story.codes(BUFFERED)
    await story.recover()
    classes = [record["durable"] for record in story.recorded() if record["kind"] == "decision"]
    assert classes == [True] * len(DURABLE) + [False] * len(BUFFERED)


async def test_health_tells_of_a_full_disk_until_there_is_room(serve: Serve, home: Path) -> None:
    """Without anybody asking again."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    disk.fill()
    assert await story.ask(asked("rows.drop")) == UNAVAILABLE
    await story.health_is(serving=False)
    disk.mend()
    await story.health_is(serving=True)


async def test_the_figures_show_a_full_disk_and_its_end(serve: Serve, home: Path) -> None:
    """As Prometheus sees them: what failed, what waits, what was denied for it."""
    disk, port = FaultyDisk(), free_port()
    story = await begun(serve, home, disk, telemetry=Telemetry(prometheus_port=port))
    await story.recover()
    disk.fill()
    assert await story.codes(ALL) == [UNAVAILABLE] * len(DURABLE) + plain(BUFFERED)
    during = await figures(port)
    assert (during("pdp_journal_errors_total") > 0, during("pdp_journal_queue") > 0) == (True, True)
    async with asyncio.timeout(PATIENCE_S):  # they are counted behind the answers
        while (await figures(port))("pdp_decisions_total", UNAVAILABLE) < len(DURABLE):  # noqa: ASYNC110  # a scrape tells no events
            await asyncio.sleep(0.02)
    assert (await figures(port))("pdp_decisions_total", UNAVAILABLE) == len(DURABLE)
    disk.mend()
    await story.recover()
    assert (await figures(port))("pdp_journal_queue") == 0


async def test_a_full_buffer_makes_buffered_decisions_wait_and_then_deny(serve: Serve, home: Path) -> None:
    """No more records are held than the bound, however many ask; none that was given is lost."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk, journal=Journal(max_buffered=50))
    await story.recover()
    disk.fill()
    assert await story.ask(asked("rows.drop")) == UNAVAILABLE
    first = [await story.ask(asked()) for _ in range(40)]
    assert set(first) == {"GRANTED"}
    crowd = await asyncio.gather(*(story.ask(asked(), timeout_s=1.5) for _ in range(200)))
    assert (set(crowd), crowd.count("GRANTED") <= 10, story.most_held) == ({"GRANTED", UNAVAILABLE}, True, 50)
    waiting = [asyncio.ensure_future(story.ask(asked())) for _ in range(60)]
    disk.mend()
    assert await asyncio.gather(*waiting) == ["GRANTED"] * 60
    await story.recover()
    assert (story.missing(["GRANTED"]), story.most_held) == ([], 50)


async def test_denials_that_no_record_has_room_for_are_counted(serve: Serve, home: Path) -> None:
    """Else the figures would say that nothing is denied just when everything is."""
    disk, port = FaultyDisk(), free_port()
    changes = {"journal": Journal(max_buffered=20), "telemetry": Telemetry(prometheus_port=port)}
    story = await begun(serve, home, disk, **changes)
    await story.recover()
    disk.fill()
    codes = [await story.ask(asked("rows.drop")) for _ in range(20)]
    codes += await asyncio.gather(*(story.ask(asked(), timeout_s=0.5) for _ in range(20)))
    assert codes == [UNAVAILABLE] * 40
    async with asyncio.timeout(PATIENCE_S):
        while (await figures(port))("pdp_decisions_total", UNAVAILABLE) < len(codes):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)
    assert (await figures(port))("pdp_decisions_total", UNAVAILABLE) == len(codes)
    disk.mend()
    await story.recover()


async def test_a_change_that_cannot_be_recorded_is_no_success_and_recorded_later(serve: Serve, home: Path) -> None:
    """It is in force all the same: a revocation must not wait for a disk."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    disk.fill()
    error = await refusal(story.server.revoke("session", "s-1"))
    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert await story.ask(asked()) == "SESSION_REVOKED"
    disk.mend()
    await story.recover()
    methods = [record.get("method") for record in story.recorded() if record["kind"] == "change"]
    assert methods.count("Revoke") == 1


async def test_who_is_turned_away_is_told_once_it_is_on_record(serve: Serve, home: Path) -> None:
    """While the disk hangs there is no answer; what is buffered goes on."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    disk.stall()
    request = story.server.apply(Task(id="t-9"), principal="newcomer")
    turned_away = asyncio.ensure_future(refusal(request))
    assert await story.codes(BUFFERED) == plain(BUFFERED)
    assert not turned_away.done()
    disk.mend()
    assert (await turned_away).code is grpc.StatusCode.PERMISSION_DENIED
    outcomes = [record["outcome"] for record in story.recorded() if record["kind"] == "administration"]
    assert outcomes.count("not_permitted") == 1


async def test_who_is_turned_away_stays_so_with_a_full_disk(serve: Serve, home: Path) -> None:
    """A disk that is full opens no door."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    disk.fill()
    error = await refusal(story.server.apply(Task(id="t-9"), principal="newcomer"))
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    disk.mend()


async def test_a_slow_disk_carries_many_durable_decisions_at_once(serve: Serve, home: Path) -> None:
    """In groups: far fewer syncs than decisions; each answer is on record when it is given."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    await story.recover()
    before = disk.syncs
    disk.slow(0.05)
    codes = await asyncio.gather(*(story.ask(asked("rows.drop")) for _ in range(200)))
    assert (set(codes), disk.syncs - before < 100) == ({"GRANTED"}, True)
    assert story.missing(["GRANTED"]) == []
    disk.mend()


async def test_a_sync_slower_than_the_deadline_is_a_denial(serve: Serve, home: Path) -> None:
    """And only of what is durable."""
    disk = FaultyDisk()
    story = await begun(serve, home, disk)
    disk.slow(2)
    durable = asyncio.ensure_future(story.ask(asked("rows.drop"), timeout_s=1))
    assert await story.codes(BUFFERED) == plain(BUFFERED)
    assert await durable == UNAVAILABLE
    disk.mend()
    await story.recover()
    assert await story.ask(asked("rows.drop")) == "GRANTED"


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """Mount a small file system where the journal will be."""
    directory = home / "journal"
    directory.mkdir(mode=0o700)
    options = f"size={ROOM},mode=0700,uid={os.getuid()}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a file system can be mounted by a privileged user only")
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> None:
    """Leave no room."""
    with (directory / BALLAST).open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


async def test_a_disk_that_is_really_full(serve: Serve, home: Path, small_disk: Path) -> None:
    """As above, with what the kernel makes of it."""
    story = await begun(serve, home)
    assert await story.codes(ALL) == plain(ALL)
    await story.recover()
    fill(small_disk)
    async with asyncio.timeout(PATIENCE_S):
        while await story.ask(asked("rows.drop")) != UNAVAILABLE:  # the last page has room for a few
            pass
    assert await story.codes(BUFFERED) == plain(BUFFERED)
    assert await story.codes(DURABLE) == [UNAVAILABLE] * len(DURABLE)
    (small_disk / BALLAST).unlink()
    await story.recover()
    assert await story.codes(ALL) == plain(ALL)
    await story.recover()
    assert story.missing([*plain(ALL), UNAVAILABLE]) == []
