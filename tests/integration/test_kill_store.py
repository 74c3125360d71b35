"""What SQLite has acknowledged survives the killing of the process, and nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from pdp.core.model import FactKind, Put
from pdp.state.sqlite import SqliteStore

KILLS = int(os.environ.get("PDP_TEST_KILLS", "15"))
SEED = int(os.environ.get("PDP_TEST_SEED", "0"))
ROOT = Path(__file__).resolve().parents[2]

WRITER = """\
import asyncio, os, sys
from pathlib import Path

from pdp.core.model import Instant, Put, Task
from pdp.state.sqlite import SqliteStore
from pdp.state.store import Origin


async def write(store, worker):
    for n in range(1_000_000):
        # Two facts of one commit: after the kill, both are there or neither is.
        changes = [Put(Task(id=f"{worker}-{half}", owner=f"{os.getpid()}-{n}")) for half in ("left", "right")]
        revision = await store.commit(changes, Origin("", "", "", Instant(n)))
        os.write(1, f"{revision}\\n".encode())


async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, worker) for worker in range(4)))


asyncio.run(main())
"""


def killed_writer(path: Path, after_s: float) -> list[int]:
    """Let a process write until it is killed, some time after its first commit; return what was acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "."},
    ) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(after_s)
        writer.send_signal(signal.SIGKILL)
        # A last line that the kill cut short acknowledges nothing.
        lines = (first + writer.stdout.read()).splitlines(keepends=True)
    return [int(line) for line in lines if line.endswith(b"\n")]


async def test_every_acknowledged_commit_survives_being_killed(tmp_path: Path) -> None:
    """At any moment, again and again, on the same file: no acknowledged commit is lost, no revision is missing."""
    path, moments = tmp_path / "state.db", random.Random(SEED)
    newest = 0
    for _ in range(KILLS):
        acknowledged = killed_writer(path, moments.uniform(0, 0.1))
        store = await SqliteStore.open(path)
        history = await store.history(newest, 1_000_000)
        revisions = [commit.revision for commit in history]
        assert revisions == list(range(newest + 1, newest + 1 + len(revisions)))
        assert acknowledged
        assert set(acknowledged) <= set(revisions)
        newest = revisions[-1]
        assert (await store.load()).revision == newest
        await check_view(store)
        await store.close()


async def check_view(store: SqliteStore) -> None:
    """Check that each fact is what the newest commit about it wrote, and that no commit is there by half."""
    written = {
        change.fact.id: change.fact
        for commit in await store.history(0, 1_000_000)
        for change in commit.changes
        if isinstance(change, Put)
    }
    page = await store.page(FactKind.TASK, "", 1_000)
    assert {fact.id: fact for fact in page.facts} == written
    for worker in range(4):
        left, right = written.get(f"{worker}-left"), written.get(f"{worker}-right")
        assert (left and left.revision) == (right and right.revision)
