"""What ends by time alone is heard by watches and recorded, without any call, also when the sidecar was away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    Attribute,
    Duration,
    Entitlement,
    Instant,
    Revocation,
    RevocationTarget,
    Session,
)
from pdp.core.wording import SECOND
from pdp.evidence.journal.journal_reader import read
from pdp.governance.lapses import Lapses
from tests.integration.conftest import Serve
from tests.integration.serving import HOUR, Running, until, world
from tests.integration.test_server_watch import watching

SOON = SECOND
SCHEDULED = 2 * SECOND
"""What begins within a second of being written is not scheduled."""


def lapses(home: Path) -> list[tuple[Attribute, Attribute]]:
    """Return what the journal says has lapsed."""
    records = (entry.record() for entry in read(home / "journal"))
    return [(record["what"], record["about"]) for record in records if record["kind"] == "lapse"]


def ending(what: str) -> list[AnyFact]:
    """Return the world, in which one fact will soon end."""
    now = time.time_ns()
    return [*(_ending(fact, what, now) for fact in world()), *_scheduled(what, now)]


def _ending(fact: AnyFact, what: str, now: int) -> AnyFact:
    soon = Instant(now + SOON)
    match fact, what:
        case Session(), "session_expired":
            return replace(fact, expires_at=soon)
        case Session(), "session_idle":
            return replace(fact, not_before=Instant(now), idle_timeout=Duration(SOON))
        case Approval(), "approval_expired":
            return replace(fact, expires_at=soon)
        case Entitlement(), "entitlement_lapsed":
            return replace(fact, certified_until=soon)
    return fact


def _scheduled(what: str, now: int) -> list[AnyFact]:
    if what != "revocation_in_force":
        return []
    at = Instant(now + SCHEDULED)
    target = RevocationTarget.IDENTITY
    return [Revocation(id="leaving", target=target, target_id="worker", effective_at=at, reason="the worker leaves")]


@pytest.mark.parametrize(
    ("what", "about", "code"),
    [
        ("session_expired", "session:s-1", "SESSION_EXPIRED"),
        ("session_idle", "session:s-1", "SESSION_IDLE"),
        ("approval_expired", "approval:chg-1", "APPROVAL_EXPIRED"),
        ("entitlement_lapsed", "entitlement:ent-1", "ENTITLEMENT_LAPSED"),
        ("revocation_in_force", "revocation:leaving", "IDENTITY_REVOKED"),
    ],
)
async def test_a_watch_hears_what_ends_by_itself_and_the_journal_has_it(
    serve: Serve, home: Path, what: str, about: str, code: str
) -> None:
    """At its instant, by nothing but time."""
    server = await serve(facts=False)
    await server.apply(*ending(what))
    async with watching(server) as watch:
        assert await watch.heard() == "GRANTED"
        assert lapses(home) == []
        assert await watch.heard() == code
    await until(lambda: lapses(home) == [(what, about)])


async def test_a_use_puts_off_what_idles(server: Running, home: Path) -> None:
    """The lapse comes after the last use, not after the first."""
    now = time.time_ns()
    idle = Duration(SOON)
    session = next(fact for fact in world() if isinstance(fact, Session))
    await server.apply(replace(session, id="s-2", not_before=Instant(now), idle_timeout=idle))
    while time.time_ns() < now + 2 * SOON:
        assert await server.check(session_id="s-2") == "GRANTED"
        await asyncio.sleep(0.05)
    assert lapses(home) == []
    await until(lambda: lapses(home) == [("session_idle", "session:s-2")])


async def test_what_ended_while_the_sidecar_was_away_is_recorded_when_it_is_back(serve: Serve, home: Path) -> None:
    """Once, whatever the number of starts; what was over when it was written is not."""
    server = await serve(facts=False)
    now = time.time_ns()
    session = next(fact for fact in world() if isinstance(fact, Session))
    late = replace(session, id="s-2", not_before=Instant(now - HOUR), expires_at=Instant(now - SECOND))
    await server.apply(*ending("session_expired"), late)
    await server.revoke("task", "another")
    await server.sidecar.stop()
    await asyncio.sleep(SOON / SECOND)
    for _ in range(2):
        server = await serve(facts=False)
        await until(lambda: lapses(home) == [("session_expired", "session:s-1")])
        await server.sidecar.stop()
    assert lapses(home) == [("session_expired", "session:s-1")]


async def test_a_break_glass_is_loud_when_it_is_taken_and_when_its_review_is_overdue(serve: Serve, home: Path) -> None:
    """Also one that came by import."""
    server = await serve()
    standard = next(fact for fact in world() if isinstance(fact, Approval))
    taken = replace(
        standard,
        id="b-1",
        kind=ApprovalKind.BREAK_GLASS,
        ticket="INC-7",
        identity="worker",
        review_due=Instant(time.time_ns() + SOON),
    )
    with capture_logs() as logs:
        await server.apply(taken)
        await until(lambda: lapses(home) == [("review_overdue", "approval:b-1")])
        await until(lambda: len(_warnings(logs)) == 2)
    assert _warnings(logs) == [("break-glass taken", "b-1"), ("break-glass review overdue", "b-1")]


def _warnings(logs: Sequence[Mapping[str, object]]) -> list[tuple[object, object]]:
    warned = [line for line in logs if line["log_level"] == "warning" and "approval" in line]
    return [(line["event"], line["approval"]) for line in warned]


async def test_a_sidecar_that_can_record_no_lapses_stops(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than go on as if nothing were."""

    async def broken(_: Lapses) -> None:
        message = "no lapse is found any more"
        raise RuntimeError(message)

    monkeypatch.setattr(Lapses, "settle", broken)
    server = await serve(facts=False)
    await until(server.sidecar.stopping.is_set)
    assert str(server.sidecar.failure) == "no lapse is found any more"
