"""The log of a server in a process of its own: whoever reads it may be slow, or gone, and every line has one form."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from tests.integration.serving import PATIENCE_S, Channels, ServerProcess, world

PIPE_BYTES = 4096
MORE_THAN_FITS = 30
"""Decisions whose lines are longer than such a pipe and whatever a program may have in hand."""


class PipedServer(ServerProcess):
    """A server process whose standard output is a small pipe."""

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and do not wait for it."""
        with (self.home / "log").open("ab") as errors:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "pdp"), "serve", "--config", str(self.config), "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return self._process

    @property
    def output(self) -> int:
        """The end of the pipe to read from."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def lines(self) -> list[dict[str, object]]:
        """Read to the end; return the lines."""
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        return [json.loads(line) for line in output.splitlines()]

    def close(self) -> None:
        """End the process, if it has not ended, and let go of the pipe."""
        super().close()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture
def piped(home: Path) -> Iterator[PipedServer]:
    """Return a server that logs decisions and watches a directory of policies."""
    (home / "policies").mkdir()
    server = PipedServer(home, {"decision_log": True, "policies": [str(home / "policies")]})
    yield server
    server.close()


async def bad_policies_are_seen(home: Path, channels: Channels) -> None:
    """Write a policy that is refused, with a line in the log, and wait until it is."""
    (home / "policies" / "bad.yaml").write_text("policy: p\nmatchh: {}\n")
    about = health_pb2.HealthCheckRequest(service="policies")
    async with asyncio.timeout(PATIENCE_S):
        async for answer in channels.health.Watch(about):
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                return


async def fill(channels: Channels) -> None:
    """Have more decisions logged than the pipe holds."""
    await channels.apply(*world())
    for _ in range(MORE_THAN_FITS):
        assert await channels.check() == "GRANTED"


@pytest.mark.parametrize("gone", [False, True])
async def test_a_log_that_nobody_reads_stops_neither_decisions_nor_the_end(piped: PipedServer, *, gone: bool) -> None:
    """Whatever else is logged meanwhile, and whether its reader stalls or is gone."""
    await piped.start()
    channels = piped.connect()
    assert piped.process.stdout is not None
    if gone:
        piped.process.stdout.close()
    try:
        await fill(channels)
        await bad_policies_are_seen(piped.home, channels)
        assert await channels.check() == "GRANTED"
    finally:
        await channels.close()
    piped.terminate()
    assert await piped.ended() == 0


async def test_a_log_that_is_read_late_has_what_waited(piped: PipedServer) -> None:
    """In the order in which it was said."""
    await piped.start()
    channels = piped.connect()
    try:
        await fill(channels)
        await bad_policies_are_seen(piped.home, channels)
    finally:
        await channels.close()
    reading = asyncio.create_task(asyncio.to_thread(piped.lines))
    piped.terminate()
    said = [line["event"] for line in await reading if line["event"] != "decision"]
    assert said[1:] == ["started", "the policies were refused, the last good set stays", "stopped"]


async def test_what_libraries_and_the_journal_log_has_the_same_form(piped: PipedServer) -> None:
    """With time, level and who says it, on standard output and nowhere else."""
    await piped.start()
    piped.terminate()
    first = (await asyncio.to_thread(piped.lines))[0]
    assert str(first.pop("event")).startswith("a key to sign the journal with was made: `")
    assert str(first.pop("timestamp")).endswith("Z")
    assert first == {"level": "info", "logger": "pdp.evidence.seals.notary"}
    assert piped.log == ""
