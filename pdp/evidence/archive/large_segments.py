"""What takes long with a large segment has a process of its own: `python -m pdp.evidence.archive.large_segments …`.

It lives as `following.life` says. `fold SEGMENT` writes the checkpoint of a segment's uses; `compress SEGMENT` makes it
small, and runs only where nobody else wants the processor: 64 MiB take more than a second of one.
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
from pdp.evidence.usage.usage import make_checkpoint

LARGE = 1024 * 1024
"""Bytes that take as long as a process takes to start."""

_FOLD, _COMPRESS = "fold", "compress"
_TURN_S = 0.1


def is_large(segment: Path) -> bool:
    """Whether a segment is better left to a process; may raise OSError."""
    return segment.exists() and segment.stat().st_size >= LARGE


def fold_apart(segment: Path, stopping: Callable[[], bool]) -> bool:
    """Write the checkpoint of a full segment's uses, and wait for it; as `compress_apart`."""
    return _done_apart(_FOLD, segment, stopping)


def compress_apart(segment: Path, stopping: Callable[[], bool]) -> bool:
    """Compress a segment, and wait for it; `stopping` is asked meanwhile, ten times a second. As `compress`.

    Raises ApartError if it was not done, OSError if there can be no process.
    """
    done = False
    try:
        done = _done_apart(_COMPRESS, segment, stopping)
    finally:
        if not done:
            forget_half_done(segment)
    return done


def _done_apart(step: str, segment: Path, stopping: Callable[[], bool]) -> bool:
    """Do a step; return False if told to stop before it is done."""
    process = subprocess.Popen(  # noqa: S603  # this very program, on a file of the journal
        command(__name__, step, str(segment)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # Ctrl-C is for the sidecar alone, also before this one has come to ignore it
    )
    with process:
        while process.poll() is None:
            if stopping():
                process.kill()
                return False
            with suppress(subprocess.TimeoutExpired):
                process.wait(_TURN_S)
        said = b"" if process.stderr is None else process.stderr.read()
    if process.returncode:
        why = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise ApartError(why or f"its process ended with {process.returncode}", process.returncode)
    return True


def _hear(lines: Iterable[bytes]) -> float:
    """Wait for the sidecar's end; what is half done then is forgotten by the next start."""
    for _ in lines:
        pass
    return 0.0


def main() -> None:
    """Do the step named on the command line with the segment named there, for whoever started this process."""
    step, segment = sys.argv[1], Path(sys.argv[2])
    try:
        if step == _FOLD:
            follow(_hear, lambda: make_checkpoint(segment))
        else:
            follow(_hear, lambda: _compress(segment), can_wait=True)
    except Exception as error:  # noqa: BLE001  # whatever it is, whoever waits for it says it
        sys.exit(str(error) or type(error).__name__)


def _compress(segment: Path) -> None:
    compress(segment, lambda: False)


if __name__ == "__main__":
    main()
