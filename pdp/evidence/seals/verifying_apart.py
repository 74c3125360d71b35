"""Checking a journal in a process of its own: a minute of hashing would keep the decisions of this one waiting."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.evidence.apart import ApartError, ApartLateError, run_apart
from pdp.evidence.seals.chain_check import Broken
from pdp.evidence.seals.verifying import Verification, Verified, verify
from pdp.evidence.trouble import EvidenceError


class VerificationError(EvidenceError):
    """The journal could not be checked."""


class VerificationLateError(VerificationError):
    """The journal could not be checked in time."""


class _Told(Struct):
    """What one process tells the other: either of them."""

    verified: Verified | None = None
    broken: list[Broken] = []


def verify_apart(directory: Path, within_s: float) -> Verification:
    """Return what `verify` finds; waits for it.

    Raises VerificationLateError if that takes longer than `within_s`, VerificationError if it cannot be done.
    """
    try:
        printed = run_apart(__name__, str(directory), within_s=within_s)
    except ApartLateError:
        message = "the deadline passed before the whole journal was checked"
        raise VerificationLateError(message) from None
    except ApartError as error:
        raise VerificationError(str(error)) from error
    told = msgspec.json.decode(printed, type=_Told)
    return told.broken if told.verified is None else told.verified


def main() -> None:
    """Check the journal named on the command line, and print what was found."""
    try:
        outcome = verify(Path(sys.argv[1]))
    except (EvidenceError, OSError) as error:
        sys.exit(str(error))
    told = _Told(verified=outcome) if isinstance(outcome, Verified) else _Told(broken=outcome)
    sys.stdout.buffer.write(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
