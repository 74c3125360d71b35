"""The SQLite engine's own promises: durable, exclusive, and careful with files it does not understand."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.core.model import Drop, FactKind, Instant, Put, Task
from pdp.state.sqlite import SqliteStore
from pdp.state.sqlite_file import APPLICATION_ID, MIGRATIONS
from pdp.state.store import AlreadyCommittedError, Commit, Origin, StoreUnavailableError, StoreUnusableError

ORIGIN = Origin(actor="operator", reason="because", traceparent="", at=Instant(7))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the database of a test is."""
    return tmp_path / "state.db"


async def fill(path: Path, commits: int = 3) -> None:
    """Write some commits and close the store."""
    store = await SqliteStore.open(path)
    for n in range(commits):
        await store.commit([Put(Task(id=f"t-{n}"))], ORIGIN)
    await store.close()


def change(path: Path, script: str) -> None:
    """Do to a closed database what the engine never would."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def content(path: Path) -> bytes:
    """Return what is in a file."""
    return path.read_bytes()


def overwrite(path: Path, data: bytes) -> None:
    """Damage a file."""
    path.write_bytes(data)


def modes_of(directory: Path) -> tuple[set[int], int]:
    """Return the permissions of the files in a directory, and its own."""
    files = {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
    return files, stat.S_IMODE(directory.stat().st_mode)


async def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    """Facts, history and time; revisions go on where they ended."""
    await fill(path)
    store = await SqliteStore.open(path)
    fact = await store.read(FactKind.TASK, "t-2")
    assert (fact, await store.latest_time(), await store.commit([Put(Task(id="t-9"))], ORIGIN)) == (
        Task(id="t-2", revision=3),
        7,
        4,
    )
    await store.close()


async def test_an_idempotency_key_is_still_known_after_reopening(path: Path) -> None:
    """With what was committed under it."""
    store = await SqliteStore.open(path)
    await store.commit([Put(Task(id="t-1"))], replace(ORIGIN, key="k", digest="d1"))
    [before] = await store.history(0, 1)
    await store.close()
    store = await SqliteStore.open(path)
    with pytest.raises(AlreadyCommittedError) as caught:
        await store.commit([Put(Task(id="t-2"))], replace(ORIGIN, key="k"))
    assert (await store.committed("operator", "k"), caught.value.commit) == (before, before)
    await store.close()


async def test_a_database_of_the_first_schema_is_taken_over(path: Path) -> None:
    """Its commits have no keys, and new ones may."""
    change(path, MIGRATIONS[0])
    with closing(sqlite3.connect(path)) as connection:
        row = (1, 7, "operator", "because", "", b'[{"do":"drop","kind":"task","id":"t"}]')
        connection.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    change(path, "UPDATE head SET revision = 1, latest_time = 7")
    change(path, f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    store = await SqliteStore.open(path)
    assert await store.history(0, 9) == [Commit(1, (Drop(FactKind.TASK, "t"),), ORIGIN)]
    assert await store.commit([Put(Task(id="t-1"))], replace(ORIGIN, key="k")) == 2
    await store.close()


async def test_a_key_is_found_by_its_index(path: Path) -> None:
    """A log of years is not read through for every commit."""
    store = await SqliteStore.open(path)
    statements: list[str] = []
    connection = store._writer._connection
    connection.set_trace_callback(statements.append)
    await store.commit([Put(Task(id="t-1"))], replace(ORIGIN, key="k"))
    connection.set_trace_callback(None)
    await store.close()
    [query] = [statement for statement in statements if statement.startswith("SELECT") and " key = " in statement]
    with closing(sqlite3.connect(path)) as reading:
        [plan] = reading.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
    assert "USING INDEX log_by_key (actor=? AND key=?)" in plan[3]


async def test_a_commit_that_cannot_be_read_back_is_no_unused_key(path: Path) -> None:
    """In doubt the commit is refused, and others go on."""
    store = await SqliteStore.open(path)
    await store.commit([Put(Task(id="t-1"))], replace(ORIGIN, key="k"))
    await store.close()
    change(path, "UPDATE log SET changes = CAST('nonsense' AS BLOB)")
    store = await SqliteStore.open(path)
    with pytest.raises(StoreUnusableError, match="is corrupt: not a list of changes"):
        await store.commit([Put(Task(id="t-2"))], replace(ORIGIN, key="k"))
    assert await store.commit([Put(Task(id="t-2"))], ORIGIN) == 2
    await store.close()


async def test_a_new_database_is_for_its_owner_only(path: Path) -> None:
    """So are the files beside it, and a directory made for it."""
    nested = path.parent / "new" / "state.db"
    store = await SqliteStore.open(nested)
    await store.commit([Put(Task(id="t"))], ORIGIN)
    assert modes_of(nested.parent) == ({0o600}, 0o700)
    await store.close()


async def test_a_commit_is_synced_to_the_disk(path: Path) -> None:
    """Write-ahead log, and a sync for every transaction."""
    store = await SqliteStore.open(path)
    connection = store._writer._connection
    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]
    await store.close()


async def test_commits_that_wait_together_share_a_transaction(path: Path) -> None:
    """And each still has a revision of its own."""
    store = await SqliteStore.open(path)
    transactions: list[str] = []
    store._writer._connection.set_trace_callback(
        lambda statement: transactions.append(statement) if statement == "COMMIT" else None
    )
    revisions = await asyncio.gather(*(store.commit([Put(Task(id=f"t-{n}"))], ORIGIN) for n in range(100)))
    assert sorted(revisions) == list(range(1, 101))
    assert len(transactions) < 100
    await store.close()


async def test_a_second_store_on_the_same_file_is_refused(path: Path) -> None:
    """The message names the process to look for."""
    store = await SqliteStore.open(path)
    with pytest.raises(StoreUnusableError, match=f"state.db` is in use by process {os.getpid()}$"):
        await SqliteStore.open(path)
    await store.close()
    await (await SqliteStore.open(path)).close()


async def test_another_process_is_kept_out_too(path: Path) -> None:
    """The lock is the kernel's, so it ends with its holder."""
    script = (
        "import asyncio, sys, pathlib\n"
        "from pdp.state.sqlite import SqliteStore\n"
        "asyncio.run(SqliteStore.open(pathlib.Path(sys.argv[1])))\n"
    )
    store = await SqliteStore.open(path)
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(path), stderr=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."}
    )
    _, errors = await other.communicate()
    assert f"is in use by process {os.getpid()}" in errors.decode()
    await store.close()


async def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    """An older program must not guess at a newer schema."""
    await fill(path)
    change(path, "PRAGMA user_version = 99")
    before = content(path)
    with pytest.raises(StoreUnusableError, match="has schema version 99, this program knows up to 2: upgrade it"):
        await SqliteStore.open(path)
    assert content(path) == before


async def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    """A wrong path must not cost somebody their data."""
    change(path, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
    before = content(path)
    with pytest.raises(StoreUnusableError, match="is a database of another program"):
        await SqliteStore.open(path)
    assert content(path) == before


async def test_what_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    """Any other file in its place."""
    overwrite(path, b"not a database at all, but long enough to be taken for one" * 100)
    before = content(path)
    with pytest.raises(StoreUnusableError, match=r"is corrupt: file is not a database; restore it from a backup"):
        await SqliteStore.open(path)
    assert content(path) == before


@pytest.mark.parametrize("with_log", [False, True], ids=["closed", "killed"])
async def test_a_damaged_database_is_refused_and_left_alone(path: Path, with_log: bool) -> None:
    """Also when a write-ahead log is left beside it, which closing it carelessly would fold in."""
    store = await SqliteStore.open(path)
    for n in range(50):
        await store.commit([Put(Task(id=f"t-{n}", owner="o" * 500))], ORIGIN)
    log = content(path.with_name("state.db-wal"))
    await store.close()
    data = bytearray(content(path))
    for page in range(1, len(data) // 4096):
        data[page * 4096 + 8 : page * 4096 + 200] = b"\xff" * 192
    overwrite(path, bytes(data))
    if with_log:
        # As long as one valid frame, so that it counts as a log to recover, yet repairs nothing.
        overwrite(path.with_name("state.db-wal"), log[: 32 + 24 + 4096])
    with pytest.raises(StoreUnusableError, match="is corrupt: "):
        await SqliteStore.open(path)
    assert content(path) == bytes(data)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("DELETE FROM log WHERE revision = 2", "its log has 2 commits up to 3, not 3"),
        ("DELETE FROM log WHERE revision = 3", "its log has 2 commits up to 2, not 3"),
        ("UPDATE head SET revision = 2", "its log has 3 commits up to 3, not 2"),
        ("DELETE FROM head", "it has no head"),
    ],
)
async def test_a_log_with_a_gap_is_refused(path: Path, script: str, message: str) -> None:
    """History that contradicts itself is no evidence."""
    await fill(path)
    change(path, script)
    with pytest.raises(StoreUnusableError, match=message):
        await SqliteStore.open(path)


@pytest.mark.parametrize("data", [b"{}", b"nonsense", b'{"id": "t", "unknown": 1}'])
async def test_a_fact_that_cannot_be_read_is_no_missing_fact(path: Path, data: bytes) -> None:
    """Reading, paging and loading all say that the file is corrupt."""
    await fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE facts SET data = ? WHERE id = 't-1'", (data,))
        connection.commit()
    store = await SqliteStore.open(path)

    async def load() -> object:
        return [part async for part in (await store.load()).slices]

    for question in (store.read(FactKind.TASK, "t-1"), store.page(None, "", 10), load()):
        with pytest.raises(StoreUnusableError, match="is corrupt: not a task"):
            await question
    await store.close()


async def test_a_commit_that_cannot_be_written_is_not_acknowledged(path: Path) -> None:
    """And once it can be, commits go on without a gap."""
    await fill(path, commits=1)
    store = await SqliteStore.open(path)
    connection = store._writer._connection
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailableError, match="is not available: attempt to write a readonly database"):
        await store.commit([Put(Task(id="t"))], ORIGIN)
    connection.execute("PRAGMA query_only = OFF")
    assert await store.commit([Put(Task(id="t"))], ORIGIN) == 2
    await store.close()


async def test_a_path_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    """A directory in its place, say."""
    with pytest.raises(StoreUnavailableError, match="is not available: "):
        await SqliteStore.open(tmp_path)


@pytest.mark.parametrize("script", ["", "PRAGMA journal_mode = WAL"], ids=["empty", "before its schema"])
async def test_a_creation_that_was_cut_short_is_done_again(path: Path, script: str) -> None:
    """A file without any content is as good as none."""
    overwrite(path, b"")
    change(path, script)
    store = await SqliteStore.open(path)
    assert await store.commit([Put(Task(id="t"))], ORIGIN) == 1
    await store.close()


async def test_the_file_is_marked_as_ours(path: Path) -> None:
    """So that tools, and we, can tell."""
    await fill(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


async def test_what_was_queued_before_closing_is_written(path: Path) -> None:
    """Closing waits for it."""
    store = await SqliteStore.open(path)
    waiting = [asyncio.ensure_future(store.commit([Put(Task(id=f"t-{n}"))], ORIGIN)) for n in range(10)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*waiting) == list(range(1, 11))


async def test_a_load_that_is_abandoned_harms_nobody(path: Path) -> None:
    """Its view is let go of, and the store closes."""
    await fill(path)
    store = await SqliteStore.open(path)
    load = await store.load(slice_size=1)
    await anext(load.slices)
    await load.slices.aclose()
    assert await store.commit([Put(Task(id="t"))], ORIGIN) == 4
    await store.close()
