"""Which checks travel together, without any I/O."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessionpdp import Decision, Doubt
from sessionpdp.coalescer import FEW, SLOTS, Coalescer, Pending
from sessionpdp.v1 import decision_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER = Decision.undecided(Doubt.PDP_TIMEOUT, "any")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that futures can belong to; it never runs."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def pending(loop: asyncio.AbstractEventLoop, deadline: float = 10, name: str = "") -> Pending:
    """Return a check that waits."""
    return Pending(decision_pb2.CheckRequest(request_id=name), deadline, loop.create_future())


def test_a_lone_check_leaves_at_once(loop: asyncio.AbstractEventLoop) -> None:
    """With a free slot nothing is waited for."""
    coalescer = Coalescer(256)
    lone = pending(loop)
    coalescer.add(lone)

    batch = coalescer.next_batch()

    assert batch is not None
    assert batch.items == [lone]


def test_a_trickle_never_waits(loop: asyncio.AbstractEventLoop) -> None:
    """Few checks leave one by one although no answer comes, as from a PDP that waits for its disk."""
    coalescer = Coalescer(256)
    sizes = []
    for _ in range(FEW):
        coalescer.add(pending(loop))
        batch = coalescer.next_batch()
        sizes.append(0 if batch is None else len(batch.items))
    coalescer.add(pending(loop))

    assert sizes == [1] * FEW
    assert coalescer.next_batch() is None


def test_batches_are_answered_in_any_order(loop: asyncio.AbstractEventLoop) -> None:
    """The correlation id tells whose answer it is; a second answer is nobody's."""
    coalescer = Coalescer(256)
    items = [pending(loop) for _ in range(3)]
    batches = []
    for item in items:
        coalescer.add(item)
        batches.append(coalescer.next_batch())

    answered = [coalescer.answered(batch.correlation_id) for batch in reversed(batches) if batch is not None]

    assert answered == [[item] for item in reversed(items)]
    assert batches[0] is not None
    assert coalescer.answered(batches[0].correlation_id) == []


def test_checks_gather_while_all_slots_are_taken(loop: asyncio.AbstractEventLoop) -> None:
    """What comes while two batches of many checks are out leaves together once one is back."""
    coalescer = Coalescer(256)
    out = []
    for _ in range(SLOTS):
        for _ in range(FEW):
            coalescer.add(pending(loop))
        out.append(coalescer.next_batch())
    late = [pending(loop) for _ in range(3)]
    for item in late:
        coalescer.add(item)
    assert coalescer.next_batch() is None

    assert out[0] is not None
    coalescer.answered(out[0].correlation_id)
    batch = coalescer.next_batch()

    assert batch is not None
    assert batch.items == late


def test_a_batch_is_limited(loop: asyncio.AbstractEventLoop) -> None:
    """More checks than fit into one message are two messages."""
    coalescer = Coalescer(2)
    for _ in range(3):
        coalescer.add(pending(loop))

    sizes = [len(batch.items) for batch in iter(coalescer.next_batch, None)]

    assert sizes == [2, 1]


def test_two_checks_of_one_name_do_not_share_a_batch(loop: asyncio.AbstractEventLoop) -> None:
    """The contract wants request ids unique within a batch; nobody's order changes for it."""
    coalescer = Coalescer(256)
    for name in ("a", "b", "a", "c"):
        coalescer.add(pending(loop, name=name))

    names = [[item.request.request_id for item in batch.items] for batch in iter(coalescer.next_batch, None)]

    assert names == [["a", "b"], ["a", "c"]]


def test_a_cancelled_check_is_not_sent(loop: asyncio.AbstractEventLoop) -> None:
    """Who leaves before the check is sent does not spend a use."""
    coalescer = Coalescer(256)
    left, stays = pending(loop), pending(loop)
    coalescer.add(left)
    coalescer.add(stays)
    left.answer.cancel()

    batch = coalescer.next_batch()

    assert batch is not None
    assert batch.items == [stays]


def test_a_check_expires_in_its_batch(loop: asyncio.AbstractEventLoop) -> None:
    """The overdue check is settled; the batch stays out for the others, and their order stands."""
    coalescer = Coalescer(256)
    early, late = pending(loop, 1), pending(loop, 2)
    coalescer.add(early)
    coalescer.add(late)
    batch = coalescer.next_batch()
    assert batch is not None

    assert coalescer.expire(1) == [early]
    assert coalescer.next_deadline() == 2
    assert coalescer.answered(batch.correlation_id) == [early, late]


def test_a_check_expires_while_it_waits(loop: asyncio.AbstractEventLoop) -> None:
    """A check that could not be sent in time is never sent."""
    coalescer = Coalescer(256)
    waiting = pending(loop, 1)
    coalescer.add(waiting)

    assert coalescer.expire(1) == [waiting]
    assert coalescer.next_batch() is None
    assert coalescer.next_deadline() is None


def test_a_slow_batch_frees_its_slot(loop: asyncio.AbstractEventLoop) -> None:
    """A batch that nobody waits for holds up nobody, and its answer goes to nobody."""
    coalescer = Coalescer(256)
    coalescer.add(pending(loop, 1))
    slow = coalescer.next_batch()
    coalescer.add(pending(loop, 5))
    quick = coalescer.next_batch()
    assert slow is not None
    assert quick is not None
    coalescer.answered(quick.correlation_id)

    coalescer.expire(1)

    assert not coalescer.stalled()
    assert coalescer.answered(slow.correlation_id) == []


def test_a_silent_stream_has_stalled(loop: asyncio.AbstractEventLoop) -> None:
    """Not one answer while a batch ran out of time: the stream is to be replaced."""
    coalescer = Coalescer(256)
    coalescer.add(pending(loop, 1))
    coalescer.next_batch()

    coalescer.expire(1)
    assert coalescer.stalled()

    coalescer.lost()
    assert not coalescer.stalled()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from(["", "a", "b"])),
            st.tuples(st.sampled_from(["send", "answer", "answer last", "lose", "cancel", "wait"]), st.just("")),
        ),
        max_size=60,
    )
)
def test_every_check_is_settled_once_and_sent_at_most_once(
    loop: asyncio.AbstractEventLoop, story: list[tuple[str, str]]
) -> None:
    """Whatever happens, nobody is forgotten, and nothing leaves twice or out of order."""
    coalescer, now = Coalescer(3), 0.0
    added: list[Pending] = []
    sent: list[Pending] = []
    out: list[int] = []
    for verb, name in story:
        settled: list[Pending] = []
        if verb == "add":
            added.append(pending(loop, now + 3, name))
            coalescer.add(added[-1])
        elif verb == "send" and (batch := coalescer.next_batch()):
            sent += batch.items
            out.append(batch.correlation_id)
        elif verb.startswith("answer") and out:
            settled = coalescer.answered(out.pop(0 if verb == "answer" else -1))
        elif verb == "lose":
            settled = coalescer.lost()
        elif verb == "cancel" and added:
            added[-1].answer.cancel()
        elif verb == "wait":
            now += 1
            settled = coalescer.expire(now)
        for item in settled:
            if not item.answer.done():
                item.answer.set_result(ANSWER)
        assert all(item.answer.done() for item in added if item.deadline <= now)
    assert len({id(item) for item in sent}) == len(sent)
    assert sent == [item for item in added if any(item is one for one in sent)]
    coalescer.expire(now + 3)
    assert coalescer.next_deadline() is None
