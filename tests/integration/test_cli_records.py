"""`pdp journal query`, `show` and `export`: in a data directory, with a sidecar or without one, and over the door."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.serving import PATIENCE_S, ServerProcess, check, large, until, world

PDP = [sys.executable, "-c", "from pdp.cli.main import main; main()"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SESSIONPDP_", "PDP_"))}


async def pdp(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, while the sidecar goes on."""
    return await asyncio.to_thread(
        subprocess.run,
        [*PDP, "journal", *arguments],
        cwd=home,
        env=ENVIRONMENT | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
async def server(launch: Callable[..., ServerProcess]) -> ServerProcess:
    """Return a sidecar that has answered an allow and a deny, both on disk."""
    process = launch()
    await process.start()
    channels = process.connect()
    try:
        await channels.apply(*world())
        await channels.check()
        await channels.check(check(session_id="s-9"))
    finally:
        await channels.close()
    journal = process.home / "d" / "journal"
    await until(lambda: b"SESSION_UNKNOWN" in b"".join(path.read_bytes() for path in journal.glob("*.jsonl")))
    return process


def sources(server: ServerProcess) -> dict[str, list[str]]:
    """Return where to look, as options."""
    return {"directory": ["--data-dir", str(server.home / "d")], "door": ["--admin", server.admin_target]}


@pytest.mark.parametrize("source", ["directory", "door"])
async def test_records_are_found_shown_and_exported(server: ServerProcess, source: str) -> None:
    """The same from either side of the door, while the sidecar runs."""
    where = sources(server)[source]
    query = await pdp(server.home, "query", "--session", "s-1", "--outcome", "allow", *where)
    assert (query.returncode, "GRANTED  worker rows.read database:prod/users" in query.stdout) == (0, True), query
    found = await pdp(server.home, "query", "--kind", "decision", "--json", "--oldest-first", *where)
    allowed, denied = (json.loads(line) for line in found.stdout.splitlines())
    shown = await pdp(server.home, "show", denied["decision_id"], *where)
    assert [line.split(maxsplit=1) for line in shown.stdout.splitlines()[:2]] == [
        ["decision", f"deny  record {denied['seq']}"],
        ["because", "SESSION_UNKNOWN  session `s-9` is not known  (session:s-9)"],
    ]
    by_number = await pdp(server.home, "show", str(allowed["seq"]), "--json", *where)
    assert json.loads(by_number.stdout) == allowed
    events = await pdp(server.home, "export", "--identity", "worker", "--format", "ocsf", "--kind", "decision", *where)
    assert [json.loads(line)["action_id"] for line in events.stdout.splitlines()] == [1, 2]


async def test_a_record_that_no_page_holds_is_exported_over_the_door(server: ServerProcess) -> None:
    """As from the directory, and so is what comes behind it."""
    channels = server.connect()
    try:
        await channels.apply(*large())
        await channels.revoke("session", "s-1")
    finally:
        await channels.close()
    exported = [
        await pdp(server.home, "export", "--kind", "change", "--until", "2300-01-01T00:00:00Z", *where)
        for where in sources(server).values()
    ]
    directory, door = (one.stdout.splitlines() for one in exported)
    assert (len(directory), directory) == (3, door), [one.stderr for one in exported]


async def test_records_are_found_without_a_sidecar(server: ServerProcess) -> None:
    """In what it has left."""
    server.terminate()
    await asyncio.wait_for(server.ended(), PATIENCE_S)
    where = sources(server)["directory"]
    found = await pdp(server.home, "query", "--code", "stopped", "--json", *where)
    assert [json.loads(line)["name"] for line in found.stdout.splitlines()] == ["stopped"]
    table = await pdp(server.home, "export", "--format", "csv", "--output", "table.csv", "--owner", "team-a", *where)
    file = server.home / "table.csv"
    assert (table.returncode, file.stat().st_mode & 0o777) == (0, 0o600)
    assert "allow,GRANTED" in file.read_text()


async def test_what_cannot_be_found_is_said(server: ServerProcess) -> None:
    """With exit code 2, and what helps."""
    where = sources(server)["directory"]
    missing = await pdp(server.home, "show", "99999", *where)
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (2, "error: record `99999` is not in the journal")
    over_the_door = await pdp(server.home, "show", "99999", *sources(server)["door"])
    assert (over_the_door.returncode, over_the_door.stderr) == (2, "error: record `99999` is not in the journal\n")
    bad = await pdp(server.home, "query", "--since", "yesterday", *where)
    assert bad.returncode == 2
    assert "`--since`: `yesterday` is neither a time nor how long ago" in bad.stderr
    nowhere = await pdp(server.home, "query", "--data-dir", "elsewhere")
    assert "there is no journal in `elsewhere`" in nowhere.stderr


async def test_following_from_the_end_prints_nothing_of_before(server: ServerProcess) -> None:
    """No lines are asked for, so none of those that are there already."""
    where = sources(server)["directory"]
    told = await pdp(server.home, "tail", "--lines", "0", *where)
    assert (told.returncode, told.stdout) == (0, "")
    following = await asyncio.create_subprocess_exec(
        *PDP, "journal", "tail", "--follow", "--lines", "0", "--json", *where, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert following.stdout is not None
        first = asyncio.ensure_future(following.stdout.readline())
        channels = server.connect()
        try:
            while not first.done():
                await channels.check(check(session_id="s-new"))
                await asyncio.sleep(0.1)
        finally:
            await channels.close()
        assert json.loads(first.result())["request"]["session_id"] == "s-new"
    finally:
        following.terminate()
        await following.wait()
