"""`kill -9` in the middle of writing: no acknowledged record is lost, the chain holds, uses are restored.

`PDP_KILLS` says how often a process is killed; 10 unless set.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pdp.evidence.journal_reader import Verified, read, verify
from pdp.evidence.usage import restore_uses

KILLS = int(os.environ.get("PDP_KILLS", "10"))

WRITER = """
import asyncio, itertools, sys, time
from pathlib import Path
from pdp.core.decision import Allow, Grant
from pdp.core.model import Entitlement, Identity, IdentityKind, Instant, Request, Session, Task
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.evidence.journal import Journal
from pdp.evidence.record import DecisionRecord, LifecycleRecord
from pdp.evidence.trace import Ids
from pdp.evidence.usage import UseLedger

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
        print(value.decision_id, flush=True)

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


def acknowledged_before_kill(directory: Path, count: int) -> list[str]:
    """Run a writer until it has acknowledged `count` decisions, kill it, return all it has acknowledged."""
    command = [sys.executable, "-c", WRITER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        # A line that the kill cut short acknowledges nothing.
        lines += [line for line in process.stdout if line.endswith("\n")]
    return [line.strip() for line in lines if line.strip()]


def test_no_acknowledged_decision_is_lost(tmp_path: Path) -> None:
    """However often the process is killed, and wherever in a segment."""
    acknowledged: list[str] = []
    for kill in range(KILLS):
        acknowledged += acknowledged_before_kill(tmp_path, 20 + 17 * kill)
        recorded = {entry.record().get("decision_id") for entry in read(tmp_path)}
        assert set(acknowledged) <= recorded
        assert len(acknowledged) <= restore_uses(tmp_path).session_uses["s-1"].count == len(recorded - {None})
    acknowledged_before_kill(tmp_path, 1)  # the last start repairs what the last kill has torn
    verified = verify(tmp_path)
    torn_again = isinstance(verified, list) and [place.what for place in verified] == ["the line is cut off"]
    assert torn_again or isinstance(verified, Verified)
