"""Looking at processes of a sidecar from outside."""

from __future__ import annotations

from pathlib import Path


def children_of(parent: int, module: str) -> list[int]:
    """Return the processes that run a module for a sidecar."""
    processes = [process for process in Path("/proc").iterdir() if process.name.isdecimal()]
    return [int(process.name) for process in processes if _is(process, parent, module)]


def runs(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody has asked for yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _is(process: Path, parent: int, module: str) -> bool:
    try:
        of = (process / "stat").read_text().rpartition(")")[2].split()[1]
        arguments = (process / "cmdline").read_text().split("\0")
    except OSError:  # it has ended
        return False
    return of == str(parent) and module in arguments
