"""Being told to stop: SIGTERM, which by default ends a process without unwinding anything."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_STATUS: Final = 128 + signal.SIGTERM
"""What shells report for a process that SIGTERM ended."""


class Unwinding:
    """Makes SIGTERM raise SystemExit in the main thread while somebody there has something to unwind.

    Only where the disposition is the default one: an application's own handler, set before or meanwhile, is left
    alone. Other threads cannot set handlers, so what they hold does not count. Children forked meanwhile hold
    nothing: they end by SIGTERM as they would have.
    """

    def __init__(self) -> None:
        self.in_progress = False
        """SIGTERM has come, and what was held then is being unwound."""
        self._holders = 0
        self._forking = threading.local()
        self._watches_forks = False

    def hold(self) -> bool:
        """Tell whether this counts as a holder, who must `release`."""
        if threading.current_thread() is not threading.main_thread():
            return False
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._watch_forks()
            signal.signal(signal.SIGTERM, self._unwind)
        self._holders += 1
        return True

    def release(self) -> None:
        """Restore the default once the last holder is done."""
        self._holders -= 1
        self.in_progress = self.in_progress and self._holders > 0
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and not self._holders and self._is_in_force():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _is_in_force(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._unwind

    def _unwind(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.in_progress = True
        raise SystemExit(_STATUS)

    def _watch_forks(self) -> None:
        if not self._watches_forks and hasattr(os, "register_at_fork"):
            self._watches_forks = True
            os.register_at_fork(
                before=self._before_fork, after_in_child=self._after_in_child, after_in_parent=self._after_in_parent
            )

    # Python forgets the signals that reach a child before it is set up (`_PySignal_AfterFork`): only one that is
    # blocked waits until the child has the default disposition again.

    def _before_fork(self) -> None:
        in_force = self._is_in_force()
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}) if in_force else None

    def _after_in_child(self) -> None:
        if self._forking.mask is not None:
            self._holders, self.in_progress = 0, False
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._after_in_parent()

    def _after_in_parent(self) -> None:
        if self._forking.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)


# One for the process, because a disposition is the process's.
SIGTERM: Final = Unwinding()
