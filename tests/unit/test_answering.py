"""The messages of one stream, beside each other; without gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sessionpdp.coalescer import FEW

from pdp.doors.answering import MOST_BYTES, MOST_UNDER_WAY, Answering
from pdp.doors.errors import InvalidRequestError


class Talk:
    """A client and a handler in one: messages are handled at once, but for those that start with `wait`."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.given_up: list[bytes] = []
        self.answers: list[bytes] = []
        self.writing = self.most_writing = 0
        self._sent: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ready: dict[bytes, asyncio.Event] = {}
        self.answering = Answering(self._sent.get, self._handle, self._write)
        self.running = asyncio.ensure_future(self.answering.run())

    async def say(self, *messages: bytes) -> None:
        """Send, and wait until nothing happens any more."""
        for message in messages:
            self._sent.put_nowait(message)
        await self.settle()

    async def hang_up(self) -> None:
        """Send no more."""
        self._sent.put_nowait(None)
        await self.settle()

    async def let(self, *messages: bytes) -> None:
        """Let messages that wait be answered, in this order."""
        for message in messages:
            self._ready[message].set()
            await self.settle()

    async def settle(self) -> None:
        """Give everything its turn."""
        for _ in range(10 * MOST_UNDER_WAY):
            await asyncio.sleep(0)

    async def _handle(self, data: bytes) -> bytes:
        self.begun.append(data)
        if data.startswith(b"wait"):
            self._ready[data] = asyncio.Event()
            try:
                await self._ready[data].wait()
            except asyncio.CancelledError:
                self.given_up.append(data)
                raise
        if data.endswith(b"bad"):
            raise InvalidRequestError([])
        return data

    async def _write(self, answer: bytes) -> None:
        self.writing += 1
        self.most_writing = max(self.most_writing, self.writing)
        await asyncio.sleep(0)
        self.answers.append(answer)
        self.writing -= 1


@asynccontextmanager
async def talk() -> AsyncIterator[Talk]:
    """Yield a stream that has begun, and end it."""
    begun = Talk()
    yield begun
    begun.running.cancel()
    await asyncio.gather(begun.running, return_exceptions=True)


async def test_a_message_that_waits_keeps_no_other_waiting() -> None:
    """Its answer leaves later, and the others at once."""
    async with talk() as told:
        await told.say(b"wait 1", b"2", b"wait 3", b"4")
        assert told.answers == [b"2", b"4"]
        await told.let(b"wait 3", b"wait 1")
        assert told.answers == [b"2", b"4", b"wait 3", b"wait 1"]


async def test_messages_are_begun_and_where_none_waits_answered_in_the_order_they_came() -> None:
    """One at a time: a stream takes one message after the other."""
    messages = [b"%d" % number for number in range(3 * MOST_UNDER_WAY)]
    async with talk() as told:
        await told.say(*messages)
        assert (told.begun, told.answers, told.most_writing) == (messages, messages, 1)


async def test_beyond_the_bound_nothing_is_read() -> None:
    """Until one of those under way is answered."""
    messages = [b"wait %d" % number for number in range(MOST_UNDER_WAY + 2)]
    async with talk() as told:
        await told.say(*messages)
        assert told.begun == messages[:-2]
        await told.let(messages[3])
        assert told.begun == messages[:-1]


def test_what_the_client_sends_without_waiting_is_taken_without_waiting() -> None:
    """A message for each check, at the worst."""
    assert FEW <= MOST_UNDER_WAY


async def test_beyond_so_many_bytes_nothing_is_read() -> None:
    """A few large messages take as much memory as many small ones; one that is larger alone is taken."""
    async with talk() as client:
        large, larger = b"wait" + b"x" * (MOST_BYTES // 2), b"wait" + b"y" * (2 * MOST_BYTES)
        await client.say(large, larger, b"small")
        assert client.begun == [large, larger]
        await client.let(large)
        assert client.begun == [large, larger]
        await client.let(larger)
        assert client.begun == [large, larger, b"small"]
        await client.hang_up()


async def test_a_stream_ends_once_all_it_took_is_answered() -> None:
    """The client may say that it has no more before it has heard everything."""
    async with talk() as told:
        await told.say(b"wait 1", b"2")
        await told.hang_up()
        assert not told.running.done()
        await told.let(b"wait 1")
        await told.running
        assert told.answers == [b"2", b"wait 1"]


@pytest.mark.parametrize("bad", [b"bad", b"wait bad"], ids=["at once", "later"])
async def test_a_message_at_fault_ends_the_stream_once_the_others_are_answered(bad: bytes) -> None:
    """With its own error and no group of them; nothing that comes after is read."""
    async with talk() as told:
        await told.say(b"wait 1", bad)
        if bad in told._ready:
            await told.let(bad)
        await told.say(b"3")
        await told.let(b"wait 1")
        with pytest.raises(InvalidRequestError):
            await told.running
        assert (told.begun, told.answers) == ([b"wait 1", bad], [b"wait 1"])


async def test_of_several_at_fault_the_first_is_told() -> None:
    """A stream ends with one status."""
    async with talk() as told:
        await told.say(b"wait bad", b"bad")
        first = told.answering._fault
        await told.let(b"wait bad")
        with pytest.raises(InvalidRequestError) as raised:
            await told.running
        assert raised.value is first


async def test_a_message_at_fault_ends_a_stream_that_is_full() -> None:
    """Which reads nothing that could be cancelled."""
    messages = [b"wait bad", *(b"wait %d" % number for number in range(MOST_UNDER_WAY))]
    async with talk() as told:
        await told.say(*messages)
        await told.let(messages[0], *messages[1:-1])
        with pytest.raises(InvalidRequestError):
            await told.running
        assert told.answers == messages[1:-1]


async def test_a_stop_takes_nothing_more_and_answers_what_was_taken() -> None:
    """Nor does a second one do harm."""
    async with talk() as told:
        await told.say(b"wait 1", b"wait 2")
        told.answering.stop()
        told.answering.stop()
        await told.say(b"3")
        await told.let(b"wait 2", b"wait 1")
        await told.running
        assert (told.begun, told.answers) == ([b"wait 1", b"wait 2"], [b"wait 2", b"wait 1"])


async def test_a_stream_that_is_stopped_before_it_runs_takes_nothing() -> None:
    """It came while the sidecar stopped."""
    async with talk() as told:
        told.answering.stop()
        await told.say(b"1")
        await told.running
        assert told.begun == []


@pytest.mark.parametrize("stopped", [False, True], ids=["while it serves", "while it stops"])
async def test_a_client_that_goes_ends_all_that_is_under_way(*, stopped: bool) -> None:
    """At once: nobody waits for it any more."""
    async with talk() as told:
        await told.say(b"wait 1", b"wait 2")
        if stopped:
            told.answering.stop()
        told.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await told.running
        assert sorted(told.given_up) == [b"wait 1", b"wait 2"]
