"""The fakes answer as the clients would."""

from __future__ import annotations

import inspect

import pytest
from sessionpdp import PDP, AsyncPDP, Check, Doubt, InvalidCheck
from sessionpdp.testing import FakeAsyncPDP, FakePDP

METHODS = ["check", "check_many", "explain", "permissions", "watch", "guard"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("fake", "real"), [(FakePDP, PDP), (FakeAsyncPDP, AsyncPDP)])
def test_a_fake_has_the_methods_of_its_client(fake: type, real: type, method: str) -> None:
    """A test that passes against the fake calls what the client has."""
    faked, meant = inspect.signature(getattr(fake, method)), inspect.signature(getattr(real, method))
    assert faked.parameters == meant.parameters
    assert faked.return_annotation == meant.return_annotation


def test_nothing_is_allowed_by_default() -> None:
    """As with a PDP, access needs a session."""
    assert FakePDP().check(subject="x", action="a", resource="r:1").code == "SESSION_REQUIRED"


def test_a_deny_overrides_an_allow() -> None:
    """In whatever order they were told."""
    fake = FakePDP()
    fake.deny("SESSION_REVOKED", session="s-1")
    fake.allow()

    assert fake.check(subject="x", action="a", resource="r:1").allowed
    assert fake.check(subject="x", action="a", resource="r:1", session="s-1").code == "SESSION_REVOKED"


def test_every_denial_is_told_in_precedence_order() -> None:
    """As `Check` does."""
    fake = FakePDP()
    fake.deny("TASK_ENDED")
    fake.deny("SESSION_EXPIRED")

    decision = fake.check(subject="x", action="a", resource="r:1")

    assert [reason.code for reason in decision.reasons] == ["SESSION_EXPIRED", "TASK_ENDED"]


def test_trouble_can_be_told() -> None:
    """Users test what they do when the PDP is away."""
    fake = FakePDP()
    fake.allow()
    fake.unreachable()
    assert fake.check(subject="x", action="a", resource="r:1").code == "PDP_UNREACHABLE"
    fake.unreachable(Doubt.PDP_TIMEOUT)
    assert not fake.permissions(subject="x").decided
    fake.reachable()
    assert fake.check(subject="x", action="a", resource="r:1").allowed


def test_checks_are_remembered() -> None:
    """So that a test can say what was asked."""
    fake = FakePDP()
    checks = [Check(subject="x", action="a", resource="r:1"), Check(subject="y", action="b", resource="r:2")]

    fake.check_many(checks)

    assert fake.checks == checks
    fake.reset()
    assert fake.checks == []


def test_a_bad_field_raises_as_with_a_client() -> None:
    """A mistake is found in the user's tests."""
    with pytest.raises(InvalidCheck, match="`resource` must be `type:id`"):
        FakePDP().check(subject="x", action="a", resource="users")


def test_an_unknown_code_is_refused() -> None:
    """The set of codes is closed."""
    with pytest.raises(ValueError, match="SESION_EXPIRED"):
        FakePDP().deny("SESION_EXPIRED")


def test_a_watch_tells_changes_and_ends() -> None:
    """So that a test of a watcher ends too."""
    fake = FakePDP()
    fake.allow()
    told = []
    for decision in fake.watch(subject="x", action="a", resource="r:1"):
        told.append(decision.code)
        if len(told) == 1:
            fake.deny("TASK_ENDED")
    assert told == ["GRANTED", "TASK_ENDED"]


async def test_the_asynchronous_fake_answers_alike() -> None:
    """Every method."""
    fake = FakeAsyncPDP()
    fake.allow(action="rows.*", resource="table:*")
    fields = {"subject": "x", "action": "rows.read", "resource": "table:users"}

    assert (await fake.check(**fields)).allowed  # type: ignore[arg-type]
    assert (await fake.check_many([Check(**fields)]))[0].allowed  # type: ignore[arg-type]
    assert (await fake.explain(**fields)).decision.allowed  # type: ignore[arg-type]
    assert [p.action for p in (await fake.permissions(subject="x")).permissions] == ["rows.*"]
    assert [d.code async for d in fake.watch(**fields)] == ["GRANTED"]  # type: ignore[arg-type]
    assert len(fake.checks) == 2
