"""What became of a replay, as one JSON object: of the command line, the door, and the process that did it."""

from __future__ import annotations

import msgspec

from pdp.evidence.replay.recorded import RecordedDecision
from pdp.evidence.replay.replaying import COMPARED, Agrees, Differs, Replayed


def replay_json(replayed: Replayed) -> dict[str, object]:
    """Return the result, the recorded answer, and the computed one where it is another."""
    recorded = replayed.recorded
    document: dict[str, object] = {"decision_id": recorded.decision_id, "sequence": recorded.seq}
    if isinstance(replayed, Agrees):
        return document | {"result": "agrees", "recorded": _answer(recorded)}
    if isinstance(replayed, Differs):
        differs = {"result": "differs", "differs_in": list(replayed.members), "recorded": _answer(recorded)}
        return document | differs | {"computed": _answer(replayed.computed)}
    return document | {"result": "not_computed", "why": replayed.why, "recorded": _answer(recorded)}


def _answer(recorded: RecordedDecision) -> dict[str, object]:
    members: dict[str, object] = {name: msgspec.to_builtins(getattr(recorded, name)) for name in COMPARED}
    return members | {"revision": recorded.revision, "policy_version": recorded.policy_version}
