"""What a snapshot weighs: `footprint <sessions>`.

Prints the resident bytes after each step as JSON, from a process of its own that holds nothing else.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Iterable

from benchmarks.processes import resident_bytes
from benchmarks.world import World, basis, policy_set, revocation, session
from pdp.core.model import KIND_OF, AnyFact, Instant
from pdp.core.snapshot import Snapshot
from pdp.core.wording import SECOND
from pdp.state.codec import Codec


def weigh(sessions: int) -> dict[str, int]:
    """Return the resident bytes: empty, then with each sort of thing added to it."""
    world = World(sessions, sessions, Instant(time.time_ns()))
    snapshot, codec = Snapshot(policy_set(0)), Codec()
    weights = {"nothing": _resident()}

    def put(facts: Iterable[AnyFact]) -> int:
        for fact in facts:
            snapshot.put(codec.decode_fact(KIND_OF[type(fact)], codec.encode_fact(fact)))
        return _resident()

    weights["basis"] = put(basis(world))
    weights["sessions"] = put(session(number, world.now) for number in range(sessions))
    weights["revocations"] = put(revocation(number, world) for number in range(sessions))
    for used in tuple(snapshot.sessions.values()):
        snapshot.record_use((used.id,), (used.approval,), Instant(world.now - SECOND))
    weights["uses"] = _resident()
    return weights


def _resident() -> int:
    gc.collect()
    return resident_bytes(os.getpid())


if __name__ == "__main__":
    print(json.dumps(weigh(int(sys.argv[1]))))
