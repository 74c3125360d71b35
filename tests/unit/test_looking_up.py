"""What administrative calls look up on disk is looked up one by one, and not for nobody."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pdp.doors.call import Call
from pdp.doors.errors import LateError
from pdp.doors.looking_up import LookUps

CALL = Call("DescribeSession")


class Looks:
    """Counts how many look at once."""

    def __init__(self) -> None:
        self.now = self.most = self.all = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Look."""
        with self._lock:
            self.now += 1
            self.all += 1
            self.most = max(self.most, self.now)
        threading.Event().wait(0.002)
        with self._lock:
            self.now -= 1
        return self.all


async def test_one_looks_at_a_time() -> None:
    """However many ask."""
    looks, look_ups = Looks(), LookUps()
    found = await asyncio.gather(*(look_ups.run(CALL, looks) for _ in range(9)))
    assert (sorted(found), looks.most) == (list(range(1, 10)), 1)


async def test_nobody_looks_for_a_call_that_is_over() -> None:
    """Who asks and hangs up, again and again, would keep the others from their turn."""
    looks = Looks()
    late = Call("DescribeSession", deadline=asyncio.get_running_loop().time() - 1)
    with pytest.raises(LateError):
        await LookUps().run(late, looks)
    assert looks.all == 0
