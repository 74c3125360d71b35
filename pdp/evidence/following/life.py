"""The life of a process that follows a journal for a sidecar.

Rule 1: it ends with its sidecar, whatever ended that, and not before: its standard input is then at its end.
Rule 2: it never keeps a processor from those who decide.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress

_NICENESS = 19
LAST_WORK_S = 1.0
"""What may take longer once there is nobody to work for is given up."""

_SPEAKING = threading.Lock()


def say(text: str) -> None:
    """Tell the sidecar a line; raise BrokenPipeError if nobody listens any more."""
    line = memoryview(f"{text}\n".encode())
    with _SPEAKING:
        while line:
            line = line[os.write(sys.stdout.fileno(), line) :]


def follow(hear: Callable[[Iterable[bytes]], float], work: Callable[[], None], *, can_wait: bool = False) -> None:
    """Do the work of this process, while another thread hears what it is told.

    `hear` comes to its end with the lines, has `work` return, and returns how long that may take. What `can_wait` gets
    next to nothing of a processor that others keep busy all the time.
    """
    # Sent to all of a service they mean the sidecar, which has work to do.
    for ends in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, signal.SIG_IGN)
    os.nice(_NICENESS)
    if can_wait:
        _give_way()
    threading.Thread(target=_listen, args=(hear,), daemon=True).start()
    with suppress(BrokenPipeError):
        work()


def _give_way() -> None:
    """Run where nobody else wants to.

    With `nice` alone a process that runs finishes its turn of some milliseconds, and threads of who decides are woken
    elsewhere meanwhile, on the very processor of the event loop.
    """
    with suppress(AttributeError, OSError):  # elsewhere than on Linux, or not permitted
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _listen(hear: Callable[[Iterable[bytes]], float]) -> None:
    code = 1
    try:
        with os.fdopen(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as lines:
            last_work_s = hear(lines)
        time.sleep(last_work_s)
        code = 0
    except Exception:  # noqa: BLE001  # whatever it is: who hears nothing must not go on
        traceback.print_exc()
    finally:
        os._exit(code)
