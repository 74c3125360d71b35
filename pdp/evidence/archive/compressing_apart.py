"""Large segments are made small by a process of its own: `python -m pdp.evidence.archive.compressing_apart SEGMENT`.

It lives as `following.life` says, and runs only where nobody else wants the processor: a full segment of 64 MiB takes
more than a second of one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pdp.evidence.apart import ApartError, command
from pdp.evidence.archive.compressing import compress, forget_half_done
from pdp.evidence.following.life import follow

LARGE = 1024 * 1024
"""Bytes that take as long to compress as a process to start."""

_TURN_S = 0.1


def compress_apart(segment: Path, stopping: Callable[[], bool]) -> bool:
    """Compress a segment, and wait for it; `stopping` is asked meanwhile, ten times a second. As `compress`.

    Raises ApartError if it was not done, OSError if there can be no process.
    """
    process = subprocess.Popen(  # noqa: S603  # this very program, on a file of the journal
        command(__name__, str(segment)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # Ctrl-C is for the sidecar alone, also before this one has come to ignore it
    )
    with process:
        while process.poll() is None:
            if stopping():
                process.kill()
                process.wait()
                forget_half_done(segment)
                return False
            with suppress(subprocess.TimeoutExpired):
                process.wait(_TURN_S)
        said = b"" if process.stderr is None else process.stderr.read()
    if process.returncode:
        forget_half_done(segment)
        why = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise ApartError(why or f"the process that compresses ended with {process.returncode}", process.returncode)
    return True


def _hear(lines: Iterable[bytes]) -> float:
    """Wait for the sidecar's end; what is half done then is forgotten by the next start."""
    for _ in lines:
        pass
    return 0.0


def main() -> None:
    """Compress the segment named on the command line, for whoever started this process."""
    segment = Path(sys.argv[1])
    try:
        follow(_hear, lambda: _compress(segment), can_wait=True)
    except Exception as error:  # noqa: BLE001  # whatever it is, whoever waits for it says it
        sys.exit(str(error) or type(error).__name__)


def _compress(segment: Path) -> None:
    compress(segment, lambda: False)


if __name__ == "__main__":
    main()
