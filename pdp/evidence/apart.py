"""Parts of this very program in processes of their own, for work that would keep the decisions of this one waiting.

Rule 1: a process finds the modules that this one has, never files of the directory it happens to be started in.
"""

from __future__ import annotations

import subprocess
import sys

from pdp.evidence.trouble import EvidenceError


class ApartError(EvidenceError):
    """The work was not done; the message is the last line that the process has said."""

    def __init__(self, message: str, code: int | None = None) -> None:
        """`code` is what the process ended with; None: it was not started."""
        super().__init__(message)
        self.code = code


class ApartLateError(ApartError):
    """It was not done in time."""


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this program."""
    return [sys.executable, "-P", "-m", module, *arguments]


def run_apart(module: str, *arguments: str, within_s: float) -> bytes:
    """Run a module, wait for it, and return what it prints; raise ApartLateError or ApartError."""
    try:
        done = subprocess.run(  # noqa: S603  # this very program
            command(module, *arguments), capture_output=True, timeout=within_s, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"it took longer than {within_s:.1f} s"
        raise ApartLateError(message) from None
    except (OSError, ValueError) as error:
        raise ApartError(str(error)) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ApartError(said or f"the process ended with {done.returncode}", done.returncode)
    return done.stdout
