"""A watch hears each change of its decision, also those that nobody makes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import facts_pb2, governance_pb2

from pdp.core.model import Instant
from pdp.core.wording import SECOND
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Channels, Running, check, code_of, session, world
from tests.integration.test_server_health import Leap

FREEZE = """\
policy: freeze
match: {actions: ["rows.*"], resources: ["database:**"]}
deny:
  - {name: change freeze, cel: "true"}
"""


@asynccontextmanager
async def watching(server: Channels, **changes: object) -> AsyncIterator[Watch]:
    """Open a watch of a check, and cancel it at the end."""
    watch = Watch(server, check(**changes))
    try:
        yield watch
    finally:
        watch.cancel()


class Watch:
    """An open watch."""

    def __init__(self, server: Channels, request: pb.CheckRequest) -> None:
        self._call = server.decisions.Watch(pb.WatchRequest(check=request), timeout=PATIENCE_S)

    async def heard(self) -> str:
        """Return the code of the next answer."""
        return code_of(await self.decision())

    async def decision(self) -> pb.Decision:
        """Return the next answer."""
        response = await self._call.read()
        assert isinstance(response, pb.WatchResponse)
        return response.decision

    def cancel(self) -> None:
        """Stop watching."""
        self._call.cancel()


async def test_it_hears_that_the_session_was_closed(server: Running) -> None:
    """And nothing of other sessions."""
    await server.apply(session("s-2"))
    async with watching(server) as watch:
        assert await watch.heard() == "GRANTED"
        for id_ in ("s-2", "s-1"):
            request = governance_pb2.CloseSessionRequest(session_id=id_, reason="done")
            await server.governance.CloseSession(request, timeout=PATIENCE_S)
        assert await watch.heard() == "SESSION_CLOSED"


async def test_it_hears_that_the_task_was_completed(server: Running) -> None:
    """Which ends every session of it."""
    async with watching(server) as watch:
        assert await watch.heard() == "GRANTED"
        request = governance_pb2.CompleteTaskRequest(task_id="job", reason="done")
        await server.governance.CompleteTask(request, timeout=PATIENCE_S)
        assert await watch.heard() == "TASK_ENDED"


async def test_it_hears_that_the_session_was_removed(server: Running) -> None:
    """And that it came back."""
    async with watching(server) as watch:
        assert await watch.heard() == "GRANTED"
        removal = governance_pb2.FactReference(kind=facts_pb2.FACT_KIND_SESSION, id="s-1")
        request = governance_pb2.ApplyFactsRequest(removals=[removal], reason="a mistake")
        await server.governance.ApplyFacts(request, timeout=PATIENCE_S)
        assert await watch.heard() == "SESSION_UNKNOWN"
        await server.apply(session("s-1"))
        assert await watch.heard() == "GRANTED"


async def test_it_hears_a_session_begin_and_expire_by_itself(server: Running) -> None:
    """At the instants named, by nothing but time."""
    now = time.time_ns()
    start, end = now + SECOND, now + 2 * SECOND
    await server.apply(session("s-3", not_before=Instant(start), expires_at=Instant(end)))
    async with watching(server, session_id="s-3") as watch:
        assert await watch.heard() == "SESSION_NOT_STARTED"
        began = await watch.decision()
        assert (code_of(began), began.valid_until.ToNanoseconds()) == ("GRANTED", end)
        assert began.evaluated_at.ToNanoseconds() >= start
        ended = await watch.decision()
        assert (code_of(ended), ended.evaluated_at.ToNanoseconds() >= end) == ("SESSION_EXPIRED", True)


async def test_it_hears_that_others_used_the_session_up(server: Running) -> None:
    """It counts no use itself."""
    await server.apply(session("s-4", max_uses=2))
    async with watching(server, session_id="s-4") as watch:
        assert await watch.heard() == "GRANTED"
        codes = [await server.check(session_id="s-4") for _ in range(3)]
        assert codes == ["GRANTED", "GRANTED", "SESSION_EXHAUSTED"]
        assert await watch.heard() == "SESSION_EXHAUSTED"


async def test_it_hears_that_the_policies_changed(serve: Serve, home: Path) -> None:
    """A file is written, and later removed."""
    policies = home / "policies"
    policies.mkdir()
    server = await serve(changes={"policies": [str(policies)]})
    async with watching(server) as watch:
        assert await watch.heard() == "GRANTED"
        (policies / "freeze.yaml").write_text(FREEZE)
        assert await watch.heard() == "POLICY_DENIED"
        (policies / "freeze.yaml").unlink()
        assert await watch.heard() == "GRANTED"


async def test_it_hears_that_the_state_is_stale_and_fresh_again(serve: Serve) -> None:
    """Without anybody asking."""
    clock = Leap()
    server = await serve(monotonic=clock)
    async with watching(server) as watch:
        assert await watch.heard() == "GRANTED"
        clock.frozen = True
        assert await watch.heard() == "STATE_STALE"
        clock.frozen = False
        assert await watch.heard() == "GRANTED"


async def test_it_says_nothing_twice(server: Running) -> None:
    """A write that leaves the decision as it was is not told."""
    async with watching(server) as watch:
        assert await watch.heard() == "GRANTED"
        await server.apply(*world()[:3])
        await server.revoke("session", "s-1")
        assert await watch.heard() == "SESSION_REVOKED"
