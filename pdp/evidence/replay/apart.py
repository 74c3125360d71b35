"""Replay in a process of its own: it holds a state as big as the sidecar's, and CEL is for one thread of a process."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from pdp.evidence.apart import ApartError, ApartLateError, run_apart
from pdp.evidence.replay.replaying import DecisionUnknownError, Replayed, replay_decision
from pdp.evidence.replay.telling import replay_json
from pdp.evidence.trouble import EvidenceError
from pdp.state.policy_archive import PolicyArchive
from pdp.state.sqlite_reading import SqliteHistory
from pdp.state.store import StoreError

_UNKNOWN = 3
"""Exit code for a decision that the journal does not have."""


class ReplayError(EvidenceError):
    """The decision could not be computed again."""


class ReplayLateError(ReplayError):
    """It could not be in time."""


class Sources(Struct, frozen=True):
    """Where a sidecar keeps what decisions were computed from."""

    journal: Path
    database: Path
    policies: Path
    """The archive of the sets that were in force."""


class Told(Struct, frozen=True):
    """What a replay came to, as `replay_json` says it."""

    result: str
    why: str = ""
    differs_in: tuple[str, ...] = ()
    recorded: Raw = Raw(b"")
    computed: Raw = Raw(b"")


def replay_from(sources: Sources, decision_id: str) -> Replayed:
    """Compute one decision again, in this process; raises what `replay_decision` raises, and StoreError."""
    with SqliteHistory(sources.database) as history:
        policies = PolicyArchive(sources.policies).policies
        return replay_decision(sources.journal, decision_id, history.commits, policies)


def replay_apart(sources: Sources, decision_id: str, within_s: float) -> Told:
    """Compute one decision again, and wait for it.

    Raises DecisionUnknownError, ReplayLateError if it takes longer than `within_s`, ReplayError if it cannot be done.
    """
    arguments = (str(sources.journal), str(sources.database), str(sources.policies), decision_id)
    try:
        printed = run_apart(__name__, *arguments, within_s=within_s)
    except ApartLateError:
        message = f"the deadline passed before decision `{decision_id}` was computed again"
        raise ReplayLateError(message) from None
    except ApartError as error:
        raise (DecisionUnknownError if error.code == _UNKNOWN else ReplayError)(str(error)) from error
    return msgspec.json.decode(printed, type=Told)


def main() -> None:
    """Replay the decision named on the command line, and print what came of it."""
    journal, database, policies, decision_id = sys.argv[1:]
    try:
        replayed = replay_from(Sources(Path(journal), Path(database), Path(policies)), decision_id)
    except DecisionUnknownError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(_UNKNOWN)
    except (EvidenceError, StoreError, msgspec.MsgspecError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(replay_json(replayed)))


if __name__ == "__main__":
    main()
