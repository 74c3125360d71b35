"""Guarded code runs after an allow, and never otherwise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from sessionpdp import AccessDenied, Obligation, guarded
from sessionpdp.guard import unguarded
from sessionpdp.testing import FakeAsyncPDP, FakePDP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@dataclass
class Document:
    """Something with a name."""

    name: str


@pytest.fixture
def pdp() -> FakePDP:
    """Return a fake that lets `x` read tables."""
    fake = FakePDP()
    fake.allow(subject="x", action="rows.read", resource="table:*")
    return fake


def test_a_block_runs_after_an_allow(pdp: FakePDP) -> None:
    """And gets the decision."""
    with pdp.guard(subject="x", action="rows.read", resource="table:users") as decision:
        assert decision.allowed


def test_a_block_does_not_run_after_a_deny(pdp: FakePDP) -> None:
    """The exception comes before the block."""
    with (
        pytest.raises(AccessDenied, match="SESSION_REQUIRED"),
        pdp.guard(subject="y", action="rows.read", resource="table:users"),
    ):
        pytest.fail("ran")


async def test_an_asynchronous_block_is_guarded() -> None:
    """In the same way."""
    fake = FakeAsyncPDP()
    fake.allow(subject="x")
    async with fake.guard(subject="x", action="a", resource="r:1") as decision:
        assert decision.allowed
    with pytest.raises(AccessDenied):
        async with fake.guard(subject="y", action="a", resource="r:1"):
            pytest.fail("ran")


def test_a_function_is_guarded_by_its_arguments(pdp: FakePDP) -> None:
    """Placeholders are parameters, also by default, attribute and position."""

    @guarded(pdp, subject="{who}", action="rows.read", resource="table:{document.name}", task="t-1")
    def read(document: Document, who: str = "x") -> str:
        """Read it."""
        return document.name + who

    assert read(Document("users")) == "usersx"
    assert (pdp.checks[-1].resource, pdp.checks[-1].subject, pdp.checks[-1].task) == ("table:users", "x", "t-1")
    assert (read.__name__, read.__doc__) == ("read", "Read it.")
    with pytest.raises(AccessDenied):
        read(Document("users"), who="y")


def test_a_field_may_be_computed(pdp: FakePDP) -> None:
    """A callable gets the arguments of the call."""

    @guarded(
        pdp,
        subject=lambda path: path.split("/")[0],
        action="rows.read",
        resource=lambda path: f"table:{path}",
        context=lambda path: {"length": len(path)},
    )
    def read(path: str) -> str:
        return path

    assert read("x/users") == "x/users"
    assert pdp.checks[-1].resource == "table:x/users"
    assert pdp.checks[-1].context == {"length": 7}


@pytest.mark.parametrize("name", ["users/../secrets", "", "a:b"])
def test_an_argument_cannot_lead_elsewhere(pdp: FakePDP, name: str) -> None:
    """A placeholder fills one segment, or the call is denied without asking."""

    @guarded(pdp, subject="x", action="rows.read", resource="table:{name}")
    def read(name: str) -> None:
        pytest.fail(name)

    with pytest.raises(AccessDenied, match=r"CHECK_INVALID: `resource`: the value of `\{name\}` is not one segment"):
        read(name)
    assert pdp.checks == []


async def test_a_coroutine_function_is_guarded() -> None:
    """With an asyncio client."""
    fake = FakeAsyncPDP()

    @guarded(fake, subject="x", action="a", resource="r:{number}")
    async def work(number: int) -> int:
        return number

    with pytest.raises(AccessDenied):
        await work(1)
    fake.allow(subject="x", resource="r:1")
    assert await work(1) == 1


def test_client_and_function_must_fit(pdp: FakePDP) -> None:
    """What could not be guarded is refused when it is decorated."""

    async def work() -> None: ...

    def plain() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous_generator() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="needs an asyncio client"):
        guarded(pdp, subject="x", action="a", resource="r:1")(work)
    with pytest.raises(TypeError, match="needs a blocking client"):
        guarded(FakeAsyncPDP(), subject="x", action="a", resource="r:1")(plain)
    for function in (generator, asynchronous_generator):
        with pytest.raises(TypeError, match="is a generator"):
            guarded(pdp, subject="x", action="a", resource="r:1")(function)


def test_a_placeholder_must_be_a_parameter(pdp: FakePDP) -> None:
    """A slip is found at import, not in production."""

    def read(name: str) -> str:
        return name

    with pytest.raises(ValueError, match="`resource` names `nmae`, which is no parameter"):
        guarded(pdp, subject="x", action="a", resource="r:{nmae}")(read)
    with pytest.raises(ValueError, match="`resource` formats `name`, which a callable must do"):
        guarded(pdp, subject="x", action="a", resource="r:{name!r}")(read)


def test_an_obligation_is_fulfilled_before_the_code_runs() -> None:
    """The handler of its type gets it."""
    fake, done = FakePDP(), list[Obligation]()
    fake.allow(obligations=["record_session"])

    @guarded(fake, subject="x", action="a", resource="r:1", fulfil={"record_session": done.append})
    def work() -> None:
        assert done == [Obligation("record_session", {})]

    work()
    assert done


def test_an_unknown_obligation_denies() -> None:
    """And no other of the same decision is fulfilled."""
    fake, done = FakePDP(), list[Obligation]()
    fake.allow(obligations=["record_session", "call_home"])

    @guarded(fake, subject="x", action="a", resource="r:1", fulfil={"record_session": done.append})
    def work() -> None:
        pytest.fail("ran")

    with pytest.raises(AccessDenied, match="OBLIGATION_UNKNOWN: no handler for obligation `call_home`"):
        work()
    assert done == []


async def test_an_asynchronous_handler_is_awaited() -> None:
    """By asynchronous guards; others refuse it."""
    done: list[str] = []

    async def record(obligation: Obligation) -> None:
        done.append(obligation.type)

    fake, blocking = FakeAsyncPDP(), FakePDP()
    fake.allow(obligations=["record_session"])
    blocking.allow(obligations=["record_session"])

    @guarded(fake, subject="x", action="a", resource="r:1", fulfil={"record_session": record})
    async def work() -> None:
        assert done == ["record_session"]

    await work()

    @guarded(blocking, subject="x", action="a", resource="r:1", fulfil={"record_session": lambda _: asyncio.Future()})
    def unfulfilled() -> None:
        pytest.fail("ran")

    with pytest.raises(TypeError, match="is asynchronous, its guard is not"):
        unfulfilled()


@pytest.mark.parametrize("parameter", ["open_paths", "open_methods"])
def test_a_text_is_not_taken_for_a_collection_of_names(parameter: str) -> None:
    """Each of its characters, or each part of it, would be open."""
    with pytest.raises(TypeError, match=parameter):
        unguarded(parameter, "/healthz")
