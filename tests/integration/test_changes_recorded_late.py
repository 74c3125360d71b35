"""A crash between a commit and its record."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pdp.app import Sidecar
from pdp.core.model import Instant, Put, Task
from pdp.evidence.journal.journal_reader import read
from pdp.settings import Settings
from pdp.state.sqlite import SqliteStore
from pdp.state.store import Origin


async def test_a_change_that_a_crash_kept_from_the_journal_is_recorded_at_the_next_start() -> None:
    """Once, whatever the number of starts."""
    with tempfile.TemporaryDirectory(prefix="p") as name:
        settings = Settings(data_dir=name)
        store = await SqliteStore.open(settings.database)
        await store.commit([Put(Task(id="t-1"))], Origin("operator", "because", "", Instant(5)))
        await store.close()

        for _ in range(2):
            sidecar = Sidecar(settings)
            await sidecar.start()
            await sidecar.stop()

        changes = [entry.record() for entry in read(Path(name) / "journal")]
        changes = [record for record in changes if record["kind"] == "change"]
    assert [(one["revision"], one["actor"], one["reason"]) for one in changes] == [(1, "operator", "because")]
