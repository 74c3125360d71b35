"""Answering the messages of one stream beside each other: one that waits for the disk keeps no other waiting.

Rule 1: messages are begun in the order they came; each answer leaves as soon as it is ready, one at a time.
Rule 2: whatever ends the reading (the client's last message, a message at fault, the sidecar's stop), what was taken
before is answered before the stream ends; only when the client goes is it given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

MOST_UNDER_WAY: Final = 16
"""Messages of one stream taken and not yet answered.

As many lone checks as a client is likely to have wait for the disk at once: they share its syncs. Beyond it nothing is
read, and HTTP/2's flow control holds the sender back.
"""
MOST_BYTES: Final = 1024 * 1024
"""Of such messages, but for the last: large ones must not take sixteen times the memory that one may."""


class Answering:
    """Answers the messages of one stream, until it ends or is stopped."""

    def __init__(
        self,
        read: Callable[[], Awaitable[object]],
        handle: Callable[[bytes], Awaitable[bytes]],
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """`read` gives the next message, and something that is no bytes at the end; `handle` gives its answer."""
        self._read = read
        self._handle = handle
        self._write = write
        self._sizes: list[int] = []
        """Of the messages under way."""
        self._room = asyncio.Event()
        self._room.set()
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._stopped = False
        self._fault: Exception | None = None

    async def run(self) -> None:
        """Answer message by message; raise the first error of one, once the others have been answered.

        Messages are answered in order as long as none waits. Cancelled, it ends what is under way.
        """
        # No error leaves a task: a group would cancel the others for it, and raise a group of errors.
        async with asyncio.TaskGroup() as tasks:
            while (data := await self._next()) is not None:
                tasks.create_task(self._answer(data))
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        """Take no further message; those taken are still answered."""
        if not self._stopped and self._reader is not None:
            self._reader.cancel()
        self._stopped = True

    async def _next(self) -> bytes | None:
        """Return the next message, once there is room for it; None at the end or when stopped."""
        await self._room.wait()
        reader = asyncio.current_task()
        if self._stopped or reader is None:
            return None
        self._reader = reader
        try:
            data = await self._read()
        except asyncio.CancelledError:
            # Both may be: a client that goes while the sidecar stops.
            if self._stopped and reader.uncancel() == 0:
                return None
            raise
        finally:
            self._reader = None
        if not isinstance(data, bytes):
            return None
        self._sizes.append(len(data))
        self._look_for_room()
        return data

    async def _answer(self, data: bytes) -> None:
        try:
            answer = await self._handle(data)
            async with self._writing:
                await self._write(answer)
        except Exception as error:  # noqa: BLE001  # whatever it is ends the stream, at `run`
            self._fault = self._fault or error
            self.stop()
        finally:
            self._sizes.remove(len(data))
            self._look_for_room()

    def _look_for_room(self) -> None:
        if len(self._sizes) < MOST_UNDER_WAY and sum(self._sizes) < MOST_BYTES:
            self._room.set()
        else:
            self._room.clear()
