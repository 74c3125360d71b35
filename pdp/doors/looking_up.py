"""Looks at what is on disk on behalf of administrative calls: one at a time, and only while somebody waits for it.

Threads of Python take turns with the event loop: many that look at once would keep decisions waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pdp.doors.call import Call
from pdp.doors.errors import LateError
from pdp.doors.governing import timeout_s

_T = TypeVar("_T")


class LookUps:
    """Gives one look at a time a thread."""

    def __init__(self) -> None:
        """Start with nobody looking."""
        self._turn = asyncio.Lock()

    async def run(self, call: Call, look: Callable[[], _T]) -> _T:
        """Return what a look finds; raise LateError if the call's deadline has passed before its turn."""
        async with self._turn:
            if timeout_s(call) <= 0:
                message = "the deadline passed before it could be looked up"
                raise LateError(message)
            return await asyncio.to_thread(look)
