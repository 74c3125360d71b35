"""Concurrent checks of one event loop over one stream: the I/O around the coalescer."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from sessionpdp.coalescer import Coalescer, Pending
from sessionpdp.decision import Decision, Doubt
from sessionpdp.trouble import decisions_in_order, doubt_from_error, late
from sessionpdp.v1 import decision_pb2
from sessionpdp.watching import ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sessionpdp.calling import Deadline
    from sessionpdp.coalescer import Batch

    Stream: TypeAlias = grpc.aio.StreamStreamCall[decision_pb2.CheckStreamRequest, decision_pb2.CheckStreamResponse]

# Seconds. A timeout of nothing would be a mistake in the message, which ends the stream for all.
_SHORTEST_TIMEOUT: Final = 0.001


class CheckStream:
    """Sends checks, and gives each caller its own answer by its own deadline.

    The stream is opened when there is something to send and none is open. What was in flight when it
    breaks is denied, never sent again; what was only waiting goes over the next stream. Used by one
    event loop; all state changes happen between awaits.
    """

    def __init__(self, open_stream: Callable[[], Stream], max_batch: int) -> None:
        """Take how a stream is opened, and how many checks one message may hold."""
        self._open_stream = open_stream
        self._coalescer = Coalescer(max_batch)
        self._loop = asyncio.get_running_loop()
        self._stream: Stream | None = None
        self._listener: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, request: decision_pb2.CheckRequest, deadline: Deadline) -> asyncio.Future[Decision]:
        """Return the decision to come, by the deadline at the latest; cancel it to leave."""
        answer: asyncio.Future[Decision] = self._loop.create_future()
        self._coalescer.add(Pending(request, deadline.at, answer))
        if not self._flush_due:
            # At the end of this turn of the loop, so that callers woken together leave together.
            self._flush_due = True
            self._loop.call_soon(self._flush)
        if self._timer is None:
            self._set_timer()
        return answer

    def close(self, doubt: Decision) -> None:
        """End the stream, and answer all who wait with the doubt."""
        _settle(self._coalescer.expire(math.inf), doubt)
        self._break_stream(doubt)

    def _flush(self) -> None:
        self._flush_due = False
        if self._writer is not None:
            return  # a stream takes one message at a time; `_write` comes back here
        batch = self._coalescer.next_batch()
        if batch is None:
            return
        if self._stream is None:
            self._stream = self._open_stream()
            self._listener = self._loop.create_task(self._listen(self._stream))
        self._writer = self._loop.create_task(self._write(self._stream, batch))

    async def _write(self, stream: Stream, batch: Batch) -> None:
        message = decision_pb2.CheckStreamRequest(
            correlation_id=batch.correlation_id,
            checks=[pending.request for pending in batch.items],
        )
        remaining = max(batch.last_deadline - time.monotonic(), _SHORTEST_TIMEOUT)
        message.timeout.FromMicroseconds(int(remaining * 1_000_000))
        try:
            # Of a broken stream the listener learns why, and answers the batch.
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await stream.write(message)
        finally:
            self._writer = None
        self._flush()

    async def _listen(self, stream: Stream) -> None:
        doubt = ended()
        try:
            while isinstance(message := await stream.read(), decision_pb2.CheckStreamResponse):
                self._hear(message)
        except grpc.RpcError as error:
            doubt = doubt_from_error(error)
        finally:
            # Also when this task is cancelled or fails: nobody else would notice.
            if self._stream is stream:
                self._forget_stream(doubt)
        self._flush()

    def _break_stream(self, doubt: Decision) -> None:
        if self._listener is not None:
            self._listener.cancel()  # which cancels the call it reads from
        self._forget_stream(doubt)

    def _forget_stream(self, doubt: Decision) -> None:
        self._stream = self._listener = None
        _settle(self._coalescer.lost(), doubt)

    def _hear(self, message: decision_pb2.CheckStreamResponse) -> None:
        items = self._coalescer.answered(message.correlation_id)
        self._flush()
        now = time.monotonic()
        decisions = decisions_in_order(message.decisions, len(items)) if items else []
        for pending, decision in zip(items, decisions, strict=True):
            if not pending.answer.done():
                pending.answer.set_result(decision if now < pending.deadline else late())

    def _set_timer(self) -> None:
        deadline = self._coalescer.next_deadline()
        if deadline is None:
            self._timer = None
        else:
            self._timer = self._loop.call_later(deadline - time.monotonic(), self._expire)

    def _expire(self) -> None:
        _settle(self._coalescer.expire(time.monotonic()), late())
        if self._coalescer.stalled():
            self._break_stream(Decision.undecided(Doubt.PDP_UNREACHABLE, "the PDP answers nothing on the stream"))
        self._flush()
        self._set_timer()


def _settle(items: Iterable[Pending], decision: Decision) -> None:
    for pending in items:
        if not pending.answer.done():
            pending.answer.set_result(decision)
