"""A decision that rested on what is not on record is not computed again as if it had not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace

from pdp.core.decide import decide
from pdp.core.model import Caller, Instant, Put, Request, Revision
from pdp.core.policy.cel import Program
from pdp.core.policy.model import Condition, Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.decision_json import ReasonJson, RequestJson
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import DecisionRecord
from pdp.evidence.replay.past import Past
from pdp.evidence.replay.recorded import RecordedDecision, decision_in, request_of
from pdp.evidence.replay.replaying import OF_THE_SERVICE, Agrees, NotComputed, Replayed, replay
from pdp.evidence.trace import TraceContext
from pdp.state.store import Commit, Origin
from tests.unit.core_story import NOW, REQUEST, chain, loaded, session

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "journal-record.json"
DIGEST = {"masked": "hmac-sha256:00"}
COMMIT = Commit(1, tuple(map(Put, chain(0))), Origin("somebody", "", "", Instant(0)))


def policies(cel: str) -> PolicySet:
    """Return a set of one policy that denies on a condition."""
    policy = Policy("p", actions=("**",), resources=("**",), denials=(Condition("p", "rule", Program(cel)),))
    return PolicySet([policy], "v1")


def recorded(request: Request = REQUEST, **changes: object) -> RecordedDecision:
    """Return the record of an allow, as it would be."""
    asked = RequestJson(request.subject, request.action, request.resource, request.session, context=request.context)
    written = RecordedDecision(
        seq=1,
        time="",
        decision_id="d-1",
        method="Explain",
        request=asked,
        outcome="allow",
        reasons=(ReasonJson("GRANTED", "", "session:s-0"),),
        revision=1,
        evaluated_at=f"1970-01-01T00:00:00.{NOW:09d}Z",
        policy_version="v1",
        policies=("p",),
        identity_id="agent",
        owner="team",
        session_id="s-0",
        task_id="job",
        entitlement_id="reader",
        valid_until="1970-01-01T00:00:00.000000100Z",
    )
    return replace(written, **changes)


def history(*commits: Commit) -> Past:
    """Return a past with these commits ahead."""

    def after(revision: Revision) -> Iterator[Commit]:
        return iter(commits[revision:])

    return Past(after)


def again(one: RecordedDecision, cel: str = "false", commit: Commit = COMMIT) -> Replayed:
    """Compute it again under a policy that denies on this condition."""
    return replay(one, history(commit), {"v1": policies(cel)}.__getitem__)


def test_the_same_answer_agrees() -> None:
    """The story of these tests is a good one."""
    assert again(recorded()) == Agrees(recorded())


MASKED = recorded(replace(REQUEST, context={"email": DIGEST, "zone": "eu"}), masked=("context.email",))


@pytest.mark.parametrize(
    "cel", ['context.email == "x"', 'context["email"] == "x"', "context[action.name] == 1", "size(context) > 9"]
)
def test_a_masked_attribute_that_a_policy_may_read_is_said(cel: str) -> None:
    """In whatever way it reaches it."""
    outcome = again(MASKED, cel)

    assert isinstance(outcome, NotComputed)
    assert outcome.why == "`context.email` is not on record, and `rule` of policy `p` may read it"


def test_a_masked_attribute_that_nobody_reads_does_no_harm() -> None:
    """What was read is on record."""
    assert again(MASKED, 'context.zone == "us"') == Agrees(MASKED)


def test_a_masked_attribute_that_a_session_constrains_is_said() -> None:
    """A constraint reads it as a policy does."""
    constrained = replace(session(0), constraints={"email": ["a", "b"]})
    commit = replace(COMMIT, changes=(*COMMIT.changes[:-1], Put(constrained)))

    outcome = again(MASKED, "false", commit)

    assert isinstance(outcome, NotComputed)
    assert outcome.why == "`context.email` is not on record, and session `s-0` constrains it"


def test_a_masked_property_is_said() -> None:
    """Conditions read it by the name of its variable."""
    one = recorded(masked=("resource_properties.owner.name",))

    assert isinstance(again(one, 'resource.properties.owner.name == "x"'), NotComputed)
    assert again(one, 'resource.id == "x"') == Agrees(one)


def test_omitted_attributes_are_as_good_as_masked() -> None:
    """All of them."""
    one = recorded(omitted="a lone surrogate")

    assert isinstance(again(one, "has(context.x)"), NotComputed)
    assert again(one, 'subject.owner == "nobody"') == Agrees(one)


@pytest.mark.parametrize("code", sorted(OF_THE_SERVICE))
def test_what_the_sidecar_said_of_itself_is_not_computed(code: Code) -> None:
    """No fact says how it was."""
    outcome = again(recorded(outcome="deny", reasons=(ReasonJson(code),)))

    assert isinstance(outcome, NotComputed)
    assert outcome.why.startswith(f"{code} says how the sidecar was")


def test_what_is_missing_is_said() -> None:
    """The caller's patterns, the policies, the change log."""
    without_patterns = again(recorded(caller="gateway"))
    without_policies = replay(recorded(), history(COMMIT), {}.__getitem__)
    without_history = replay(recorded(), history(), {"v1": policies("false")}.__getitem__)

    assert [type(one) for one in (without_patterns, without_policies, without_history)] == [NotComputed] * 3


def test_whom_a_caller_may_ask_about_is_on_record() -> None:
    """As patterns, beside its name; without a caller there is nothing to say."""
    request = replace(REQUEST, caller=Caller("gateway", IdentityScope(["agent", "job/**"])))
    decision = decide(request, loaded(chain(0)), NOW)
    record = DecisionRecord(
        decision_id="d-1",
        trace=TraceContext("a" * 32, "b" * 16),
        method="Check",
        caller="gateway",
        request=request,
        decision=decision,
        started_at=NOW,
        ended_at=NOW,
    )
    line, _ = line_of(body_of(record), 1, GENESIS)

    jsonschema.validate(json.loads(line), json.loads(SCHEMA.read_text()))
    one = decision_in(line)
    assert one is not None
    assert one.caller_may_ask == ("agent", "job/**")
    assert request_of(one) == request


def test_a_caller_may_ask_what_it_might_then() -> None:
    """Its patterns are on record."""
    one = recorded(caller="gateway", caller_may_ask=("agent",))

    assert again(one) == Agrees(one)
