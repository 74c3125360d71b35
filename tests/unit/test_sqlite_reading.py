"""The change log is read beside its writer, and from a copy, without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdp.core.model import Instant, Put, Task
from pdp.state.sqlite import SqliteStore
from pdp.state.sqlite_reading import SqliteHistory
from pdp.state.store import Origin, StoreUnavailableError, StoreUnusableError

ORIGIN = Origin(actor="operator", reason="because", traceparent="", at=Instant(7))


async def test_history_is_read_beside_the_writer(tmp_path: Path) -> None:
    """Each commit as the store tells it, and those that come meanwhile."""
    path = tmp_path / "facts.db"
    store = await SqliteStore.open(path)
    for number in range(3):
        await store.commit([Put(Task(id=f"t-{number}"))], ORIGIN)
    with SqliteHistory(path) as history:
        assert list(history.commits(1)) == list(await store.history(1, 9))
        await store.commit([Put(Task(id="t-3"))], ORIGIN)
        assert [commit.revision for commit in history.commits(3)] == [4]
    await store.close()


async def test_a_copy_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    """As an auditor has it."""
    path = tmp_path / "data" / "facts.db"
    store = await SqliteStore.open(path)
    await store.commit([Put(Task(id="t"))], ORIGIN)
    await store.close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with SqliteHistory(path) as history:
            assert [commit.revision for commit in history.commits(0)] == [1]
    finally:
        path.parent.chmod(0o700)


def test_a_file_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    """Reading makes nothing."""
    with pytest.raises(StoreUnavailableError, match="there is no database"):
        SqliteHistory(tmp_path / "facts.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """As the store says it."""
    (tmp_path / "facts.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreUnusableError, match="is corrupt"):
        SqliteHistory(tmp_path / "facts.db")
