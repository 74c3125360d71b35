"""`kill -9` in the middle of writing: no acknowledged record is lost, the chain holds, uses are restored.

`PDP_KILLS` says how often a process is killed, `PDP_MANY_KILLS` how often in the slow test, which with the kills of
`test_server_kill` makes more than five hundred.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pdp.evidence.journal.journal_reader import read
from pdp.evidence.seals.verifying import Verified, verify
from pdp.evidence.usage.usage import restore_uses

KILLS = int(os.environ.get("PDP_KILLS", "10"))
MANY_KILLS = int(os.environ.get("PDP_MANY_KILLS", "450"))
SEED = int(os.environ.get("PDP_TEST_SEED", "0"))
MOST_ACKNOWLEDGED = 150
"""Decisions of one life, before it is ended."""

WRITER = """
import asyncio, itertools, sys, time
from pathlib import Path
from pdp.core.decision import Allow, Grant
from pdp.core.model import Entitlement, Identity, IdentityKind, Instant, Request, Session, Task
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.evidence.journal.journal import Journal
from pdp.evidence.record import DecisionRecord, LifecycleRecord
from pdp.evidence.trace import Ids
from pdp.evidence.usage.usage import UseLedger

actions, resources, ids = ActionScope(["**"]), ResourceScope(["**"]), Ids()
now = Instant(time.time_ns())
session = Session(id="s-1", identity="job", task="t-1", entitlement="e-1", actions=actions, resources=resources,
                  not_before=now, expires_at=now, max_uses=10**9)
entitlement = Entitlement(id="e-1", identity=IdentityScope(["job"]), actions=actions, resources=resources)
grant = Grant(Identity(id="job", kind=IdentityKind.CI_JOB), session, Task(id="t-1"), entitlement, None, ())

def record():
    at = Instant(time.time_ns())
    decision = Allow(grant=grant, code=Code.GRANTED, policies=(), revision=1, policy_version="", evaluated_at=at,
                     valid_until=at, obligations=(), durable=True, used_sessions=("s-1",), used_approvals=(),
                     reads_clock=False)
    return DecisionRecord(decision_id=ids.decision_id(), trace=ids.child(None), method="Check",
                          request=Request("job", "a", "b:c"), decision=decision, started_at=at, ended_at=at)

async def use(journal):
    while True:
        value = record()
        await journal.append(value, durable=True)
        print(value.decision_id, journal.status().lost, flush=True)

async def chatter(journal):
    while True:
        journal.append(LifecycleRecord(name="chatter", at=Instant(time.time_ns()), attributes={"x": "y" * 500}))
        await asyncio.sleep(0.0005)

async def main():
    journal = Journal(Path(sys.argv[1]), ledger=UseLedger(), segment_bytes=100_000)
    journal.open()
    await asyncio.gather(use(journal), use(journal), chatter(journal))

asyncio.run(main())
"""


class Lives:
    """Writers of one journal, one after the other, each killed; and what they acknowledged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.acknowledged: set[str] = set()
        self.recorded: set[object] = set()
        self.sequence = 0
        self.gaps = 0
        self.lost = 0

    def live_and_die(self, count: int) -> None:
        """Run a writer until it has acknowledged `count` decisions, kill it, note all it has acknowledged."""
        command = [sys.executable, "-c", WRITER, str(self.directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(count)]
            process.send_signal(signal.SIGKILL)
            # A line that the kill cut short acknowledges nothing.
            lines += [line for line in process.stdout if line.endswith("\n")]
        told = [line.split() for line in lines]
        self.acknowledged |= {id_ for id_, _ in told}
        self.lost += max(int(lost) for _, lost in told)

    def look(self) -> None:
        """Read what has been written since the last look; a torn end is not read, as it is no record."""
        for entry in read(self.directory, self.sequence):
            self.gaps += entry.sequence - self.sequence - 1
            self.sequence = entry.sequence
            self.recorded.add(entry.record().get("decision_id"))


def kill_again_and_again(directory: Path, kills: int) -> Lives:
    """Check after each life, and at the end, that everything acknowledged is there."""
    lives, moments = Lives(directory), random.Random(SEED)
    for _ in range(kills):
        lives.live_and_die(moments.randint(1, MOST_ACKNOWLEDGED))
        lives.look()
        assert lives.acknowledged - lives.recorded == set()
        assert lives.gaps == lives.lost == 0
    used = restore_uses(directory).session_uses["s-1"].count
    assert len(lives.acknowledged) <= used == len(lives.recorded - {None})
    lives.live_and_die(1)  # the last start repairs what the last kill has torn
    verified = verify(directory)
    torn_again = isinstance(verified, list) and [place.what for place in verified] == ["the line is cut off"]
    assert torn_again or isinstance(verified, Verified)
    return lives


def tell(capsys: pytest.CaptureFixture[str], kills: int, lives: Lives) -> None:
    """Print what was counted."""
    counted = f"{len(lives.acknowledged)} decisions acknowledged, {lives.sequence} records"
    with capsys.disabled():
        sys.stdout.write(f"\n{kills} kills of a writer: {counted}, 0 missing, {lives.gaps} gaps, {lives.lost} lost\n")


def test_no_acknowledged_decision_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However often the process is killed, and wherever in a segment."""
    tell(capsys, KILLS, kill_again_and_again(tmp_path, KILLS))


@pytest.mark.slow
def test_no_acknowledged_decision_is_lost_in_hundreds_of_kills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As above, for longer."""
    tell(capsys, MANY_KILLS, kill_again_and_again(tmp_path, MANY_KILLS))
