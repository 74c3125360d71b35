"""Shadow policies are decided beside those in force: what they would change is on record, and changes nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace

from pdp.clock import ManualClock
from pdp.core.model import Request
from pdp.core.policy.cel import Program
from pdp.core.policy.model import Condition, Policy
from pdp.core.policy.rules import PolicySet, Rules
from pdp.core.snapshot import Snapshot
from pdp.doors.call import Call
from pdp.doors.decision_point import DecisionPoint
from pdp.doors.shadow import Shadow
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.tally import Tally
from pdp.evidence.trace import Ids
from tests.unit.core_story import NOW, REQUEST, chain, loaded, session
from tests.unit.test_hardening import Ready

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "journal-record.json"
FREEZE = Policy(
    "freeze",
    actions=("**",),
    resources=("**",),
    denials=(Condition("freeze", "always", Program("true")),),
    durable=True,
)


class Broken(PolicySet):
    """A set that cannot be asked."""

    def covering(self, action: str, resource: str) -> Rules:
        """Fail."""
        message = f"nothing covers {action} of {resource}"
        raise RuntimeError(message)


class Beside:
    """A decision point over the story of the core, with a shadow, and what it has recorded."""

    def __init__(self, *shadow: Policy) -> None:
        self.evidence = MemoryEvidence()
        self.snapshot: Snapshot = loaded(chain(0))
        self.point = DecisionPoint(self.snapshot, Ready(), ManualClock(NOW), self.evidence, Ids())
        self.point.decide_beside(Shadow(self.snapshot, PolicySet(shadow, "candidate")))

    async def ask(self, request: Request = REQUEST, method: str = "Check") -> str:
        """Ask in some way; return the primary code."""
        call = Call(method)
        if method == "Explain":
            return (await self.point.explain(request, call))[0].decision.code
        return (await self.point.check(request, call)).decision.code

    def line(self) -> dict[str, object]:
        """Return the last decision as it is on disk."""
        line, _ = line_of(body_of(self.evidence.records[-1]), 1, GENESIS)
        return dict(json.loads(line))


@pytest.mark.parametrize("method", ["Check", "Explain"])
async def test_a_difference_is_on_the_line_of_the_decision(method: str) -> None:
    """The answer, its evidence class and the policies in force stay what they are."""
    beside = Beside(FREEZE)

    assert await beside.ask(method=method) == "GRANTED"
    line = beside.line()
    assert line["shadow"] == {
        "policy_version": "candidate",
        "outcome": "deny",
        "reasons": [{"code": "POLICY_DENIED", "subject_of_reason": "policy:freeze"}],
    }
    assert (line["durable"], line["policy_version"]) == (False, "none")
    jsonschema.validate(line, json.loads(SCHEMA.read_text()))
    assert beside.snapshot.policies.version == "none"


async def test_nothing_is_recorded_where_both_say_the_same() -> None:
    """Nor where the sidecar itself is the reason."""
    beside = Beside()
    await beside.ask()

    assert "shadow" not in beside.line()


async def test_the_answer_s_own_use_is_not_yet_counted_for_the_shadow() -> None:
    """Else every last use would look like a difference."""
    beside = Beside()
    beside.snapshot.put(replace(session(0), max_uses=1))

    for code in ("GRANTED", "SESSION_EXHAUSTED"):
        assert await beside.ask() == code
        assert "shadow" not in beside.line()


async def test_a_shadow_that_fails_is_a_difference_and_no_more() -> None:
    """Its error stays where it is."""
    beside = Beside()
    beside.point.decide_beside(Shadow(beside.snapshot, Broken((), "candidate")))

    assert await beside.ask() == "GRANTED"
    told = {"policy_version": "candidate", "outcome": "deny", "reasons": [{"code": "INTERNAL_ERROR"}]}
    assert beside.line()["shadow"] == told
    assert beside.snapshot.policies.version == "none"


async def test_differences_are_counted_by_both_codes() -> None:
    """So that a dashboard shows what a candidate would change."""
    beside, tally = Beside(FREEZE), Tally(time.time_ns())
    for _ in range(2):
        await beside.ask()
    tally.count(beside.evidence.records)

    [counted] = tally.shadow_differences()
    labels = {names.LABEL_CODE: "GRANTED", names.LABEL_SHADOW_CODE: "POLICY_DENIED"}
    assert (counted.value, counted.attributes) == (2, labels)
