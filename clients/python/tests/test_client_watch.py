"""Watching a decision: changes arrive, and losing the PDP is a deny at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sessionpdp import PDP, AsyncPDP, Decision, Doubt, InvalidCheck
from sessionpdp.v1 import decision_pb2, reasons_pb2
from sessionpdp.watching import Watching

if TYPE_CHECKING:
    from clients.python.tests.conftest import BlockingAsyncPDP, ScriptedServer

    Client = PDP | BlockingAsyncPDP

CHECK: dict[str, Any] = {"subject": "x", "action": "rows.read", "resource": "database:prod/users"}


def short_lived(seconds: float) -> decision_pb2.Decision:
    """Return an allow that ends soon."""
    reason = decision_pb2.Reason(code=reasons_pb2.REASON_CODE_GRANTED)
    decision = decision_pb2.Decision(outcome=decision_pb2.OUTCOME_ALLOW, reasons=[reason])
    decision.evaluated_at.FromSeconds(1_000)
    decision.valid_until.FromMilliseconds(int(1_000_000 + seconds * 1000))
    return decision


def test_changes_arrive(pdp: Client, server: ScriptedServer) -> None:
    """First what holds now, then each change."""
    with closing(pdp.watch(**CHECK)) as decisions:  # type: ignore[type-var]
        assert next(decisions).allowed

        server.deny("SESSION_REVOKED")

        assert next(decisions).code == "SESSION_REVOKED"


def test_losing_the_pdp_is_a_deny_at_once_and_once(pdp: Client, server: ScriptedServer) -> None:
    """The watcher can cut its connection, and hears when the PDP is back."""
    with closing(pdp.watch(**CHECK)) as decisions:  # type: ignore[type-var]
        assert next(decisions).allowed

        server.stop()
        lost = next(decisions)
        server.start()

        assert (lost.allowed, lost.decided, lost.code) == (False, False, "PDP_UNREACHABLE")
        assert next(decisions).allowed


def test_a_failing_watch_is_taken_up_again(pdp: Client, server: ScriptedServer) -> None:
    """An error of the call is a loss like any other."""
    server.fail(grpc.StatusCode.UNAUTHENTICATED, times=2)

    with closing(pdp.watch(**CHECK)) as decisions:  # type: ignore[type-var]
        assert next(decisions).code == "PDP_REFUSED"
        assert next(decisions).allowed


def test_a_mistake_in_the_question_ends_the_watch(pdp: Client, server: ScriptedServer) -> None:
    """It would fail in the same way for ever."""
    server.fail(grpc.StatusCode.INVALID_ARGUMENT, "`action` is odd")

    with pytest.raises(InvalidCheck, match="`action` is odd"):
        next(iter(pdp.watch(**CHECK)))


def test_a_bad_field_raises_at_the_call(pdp: Client) -> None:
    """Not only when the first decision is asked for."""
    with pytest.raises(InvalidCheck, match="`action` is empty"):
        next(iter(pdp.watch(subject="x", action="", resource="a:b")))


def test_silence_at_the_start_is_a_deny(pdp: Client, server: ScriptedServer) -> None:
    """A PDP that takes the call and says nothing is in doubt."""
    server.hold()

    with closing(pdp.watch(**CHECK, timeout=0.1)) as decisions:  # type: ignore[type-var]
        assert next(decisions).code == "PDP_TIMEOUT"
        server.release()
        assert next(decisions).allowed


def test_silence_beyond_the_end_of_an_allow_is_a_deny(pdp: Client, server: ScriptedServer) -> None:
    """If the PDP does not say what follows an allow that ran out, it is not believed any longer."""
    server.tell(short_lived(0.1))

    with closing(pdp.watch(**CHECK, timeout=0.1)) as decisions:  # type: ignore[type-var]
        server.changed.clear()
        assert next(decisions).allowed
        server.changed.clear()
        assert next(decisions).code == "PDP_TIMEOUT"


async def test_a_cancelled_watch_leaves(server: ScriptedServer) -> None:
    """Cancelling the task that watches ends the call on the server too."""
    pdp = AsyncPDP(server.target, timeout=10)

    async def watch() -> None:
        async with aclosing(pdp.watch(**CHECK)) as decisions:
            async for _ in decisions:
                pass

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.1)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await pdp.aclose()


def test_the_same_doubt_is_told_once() -> None:
    """Until something else was told."""
    watching = Watching(timeout=1)
    unreachable = Decision.undecided(Doubt.PDP_UNREACHABLE, "gone")

    assert watching.lost(unreachable) is unreachable
    assert watching.lost(unreachable) is None
    assert watching.lost(Decision.undecided(Doubt.PDP_TIMEOUT, "silent")) is not None
    watching.heard(short_lived(1))
    assert watching.lost(unreachable) is unreachable


def test_pauses_grow_to_a_second() -> None:
    """A dead PDP is not hammered, and a restarted one found soon."""
    watching = Watching(timeout=1)

    pauses = [watching.pause() for _ in range(10)]

    assert 0.025 <= pauses[0] <= 0.05
    assert all(0.5 <= pause <= 1 for pause in pauses[5:])


def test_patience_is_the_rest_of_an_allow_and_the_timeout() -> None:
    """A deny may hold for ever; an allow has an end, of which the PDP tells."""
    watching = Watching(timeout=2)

    watching.heard(short_lived(100))
    patience = watching.patience()
    assert patience is not None
    assert 101 < patience <= 102

    denied = decision_pb2.Decision(outcome=decision_pb2.OUTCOME_DENY, reasons=[decision_pb2.Reason(code=500)])  # type: ignore[arg-type]
    watching.heard(denied)
    assert watching.patience() is None


def test_an_overdue_allow_leaves_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was slow itself still gives the PDP its time."""
    watching = Watching(timeout=2)
    watching.heard(short_lived(1))
    later = time.monotonic() + 50
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert watching.patience() == 2
