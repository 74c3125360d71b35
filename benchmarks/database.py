"""Databases of any size, written through the store itself."""

from __future__ import annotations

import asyncio
import shutil
import time
from itertools import islice
from pathlib import Path

from benchmarks.world import World, facts
from pdp.core.model import Instant, Put
from pdp.state.sqlite import SqliteStore
from pdp.state.store import Origin

_FACTS_PER_COMMIT = 10_000


class Databases:
    """Makes each database once, and gives copies of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_with(self, sessions: int, name: str) -> Path:
        """Return a new folder with a database of so many sessions, ready to be served."""
        made = self._folder / f"sessions-{sessions}"
        if not made.exists():
            asyncio.run(_fill(made / "facts.db", World(sessions, 0, Instant(time.time_ns()))))
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        shutil.copy(made / "facts.db", folder / "facts.db")
        return folder


async def _fill(path: Path, world: World) -> None:
    store = await SqliteStore.open(path)
    try:
        told = facts(world)
        while part := [Put(fact) for fact in islice(told, _FACTS_PER_COMMIT)]:
            await store.commit(part, Origin("operations", "the facts of a benchmark", "", world.now))
    finally:
        await store.close()
