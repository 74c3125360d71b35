"""Forks, restarts, idle connections, many loops: what a client meets in production.

The stories run in processes of their own, because gRPC's state is per process.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from sessionpdp import PDP, AsyncPDP
from sessionpdp.transport import Endpoint

if TYPE_CHECKING:
    from clients.python.tests.conftest import BlockingAsyncPDP, ScriptedServer

CHECK: dict[str, Any] = {"subject": "x", "action": "rows.read", "resource": "database:prod/users"}


def tell(story: str, target: str, **environment: str) -> str:
    """Run the story as a program, and return what it prints on both channels."""
    prologue = """
        import asyncio, multiprocessing, os, sys, time
        from sessionpdp import PDP, AsyncPDP
        CHECK = {"subject": "x", "action": "rows.read", "resource": "database:prod/users"}
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(prologue) + textwrap.dedent(story)],
        env={**os.environ, "SESSIONPDP_TARGET": target, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
        text=True,
    )
    return done.stdout


def test_a_client_made_before_a_fork_is_good_after_it(server: ScriptedServer) -> None:
    """As `gunicorn --preload` does: import, make the client, fork, use it."""
    story = """
        pdp, apdp = PDP(timeout=5), AsyncPDP(timeout=5)
        for _ in range(2):
            if os.fork() == 0:
                codes = pdp.check(**CHECK).code, asyncio.run(apdp.check(**CHECK)).code
                os.write(1, f"{codes[0]} {codes[1]}\\n".encode())  # in one piece, for the children share a pipe
                os._exit(0)
        os.wait(), os.wait()
        print("parent", pdp.check(**CHECK).code)
    """
    assert sorted(tell(story, server.target).split("\n")) == [
        "",
        "GRANTED GRANTED",
        "GRANTED GRANTED",
        "parent GRANTED",
    ]


def test_a_client_used_before_a_fork_is_good_on_both_sides(server: ScriptedServer) -> None:
    """The child has a connection of its own and leaves the parent's alone."""
    story = """
        pdp = PDP(timeout=5)
        print("before", pdp.check(**CHECK).code, flush=True)
        if os.fork() == 0:
            print("child", pdp.check(**CHECK).code, flush=True)
            pdp.close()
            os._exit(0)
        os.wait()
        print("after", pdp.check(**CHECK).code)
    """
    assert tell(story, server.target).split("\n") == ["before GRANTED", "child GRANTED", "after GRANTED", ""]


def test_a_pool_of_forked_workers_asks(server: ScriptedServer) -> None:
    """Each worker connects for itself."""
    story = """
        pdp = PDP(timeout=5)
        def ask(_):
            return pdp.check(**CHECK).code
        print(ask(0), flush=True)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(set(pool.map(ask, range(4))))
    """
    assert tell(story, server.target).split("\n") == ["GRANTED", "{'GRANTED'}", ""]


def test_an_asyncio_client_used_before_a_fork_says_so(server: ScriptedServer) -> None:
    """What gRPC cannot do is an error at once, and no hanging worker."""
    story = """
        apdp = AsyncPDP(timeout=5)
        asyncio.run(apdp.check(**CHECK))
        if os.fork() == 0:
            try:
                asyncio.run(apdp.check(**CHECK))
            except RuntimeError as error:
                print(error, flush=True)
            os._exit(0)
        os.wait()
    """
    assert "the asyncio client was used before the fork" in tell(story, server.target)


def test_loops_come_and_go_in_silence(server: ScriptedServer) -> None:
    """Several `asyncio.run`, nothing closed, nothing printed at the end."""
    story = """
        pdp = AsyncPDP(timeout=5)
        for _ in range(10):
            print(asyncio.run(pdp.check(**CHECK)).code)
    """
    assert tell(story, server.target).split("\n") == ["GRANTED"] * 10 + [""]


def test_importing_connects_to_nothing() -> None:
    """No channel, no thread, and no library beyond the two it depends on."""
    story = """
        import threading
        PDP(), AsyncPDP()
        tops = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
        print(threading.active_count(), sorted(top for top in tops if not top.startswith("_")))
    """
    printed = tell(story, "unix:///nowhere").split()
    assert printed[0] == "1"
    assert {"grpc", "google", "sessionpdp"} <= set(eval(" ".join(printed[1:])))  # noqa: S307 - a list this test printed
    assert "opentelemetry" not in " ".join(printed)


def test_a_restarted_server_is_found_within_a_second(pdp: PDP | BlockingAsyncPDP, server: ScriptedServer) -> None:
    """Down is a deny at once; back is an allow soon, also after it was down for a while."""
    assert pdp.check(**CHECK).allowed
    server.stop()
    down_until = time.monotonic() + 1
    while time.monotonic() < down_until:
        assert pdp.check(**CHECK).code == "PDP_UNREACHABLE"
        time.sleep(0.02)
    server.start()
    back = time.monotonic()

    while not pdp.check(**CHECK).allowed:
        assert time.monotonic() - back < 1
        time.sleep(0.01)


def test_a_quick_restart_costs_nothing(server: ScriptedServer) -> None:
    """A server that went and came while nobody asked is simply there."""
    with PDP(server.target, timeout=5) as pdp:
        assert pdp.check(**CHECK).allowed
        server.stop()
        server.start()
        time.sleep(0.05)

        assert pdp.check(**CHECK).allowed


async def test_a_quick_restart_costs_a_running_loop_nothing(server: ScriptedServer) -> None:
    """The broken stream is noticed when it breaks, not by the next check."""
    async with AsyncPDP(server.target, timeout=5) as pdp:
        assert (await pdp.check(**CHECK)).allowed
        await asyncio.to_thread(server.stop)
        server.start()
        await asyncio.sleep(0.05)

        assert (await pdp.check(**CHECK)).allowed


def test_an_idle_connection_is_taken_up_again(server: ScriptedServer) -> None:
    """Hours without a check, made short: the channel goes idle and comes back."""
    with PDP(server.target, timeout=5, options=(("grpc.client_idle_timeout_ms", 1_000),)) as pdp:
        assert pdp.check(**CHECK).allowed
        time.sleep(1.5)
        assert pdp.check(**CHECK).allowed


def test_pings_are_within_what_a_pdp_permits() -> None:
    """It permits one each ten seconds, also without calls; options of the caller win."""
    options = dict(Endpoint.of(None, None, (("grpc.keepalive_timeout_ms", 1),)).options)
    assert options["grpc.keepalive_time_ms"] == 60_000
    assert options["grpc.keepalive_timeout_ms"] == 1


@pytest.mark.parametrize("given", ["dns:///other:1", None])
def test_the_target_is_found(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    """Argument before environment before the default socket."""
    monkeypatch.setenv("SESSIONPDP_TARGET", "unix:///from/environment")
    assert Endpoint.of(given, None, ()).target == (given or "unix:///from/environment")
    monkeypatch.delenv("SESSIONPDP_TARGET")
    assert Endpoint.of(given, None, ()).target == (given or "unix:///run/sessionpdp/pdp.sock")


async def test_an_own_channel_for_each_loop(server: ScriptedServer) -> None:
    """Connections of loops that are closed are let go."""
    pdp = AsyncPDP(server.target, timeout=5)
    for _ in range(3):
        await asyncio.to_thread(lambda: asyncio.run(pdp.check(**CHECK)))

    await pdp.check(**CHECK)

    (by_loop,) = pdp._connections._by_process.values()
    assert list(by_loop) == [asyncio.get_running_loop()]
    await pdp.aclose()
