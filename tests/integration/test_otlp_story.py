"""A story told through the real doors, as a real collector gets it: names, attributes, links that lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from sessionpdp.v1 import decision_pb2
from sessionpdp.v1 import governance_pb2 as pb

from pdp.settings import Telemetry
from tests.integration.collector import Collector, attributes
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Running, as_principal, check, until, world

CALLER = "00-" + "c" * 32 + "-" + "3" * 16 + "-00"
SCOPE = {"actions": ["rows.read"], "resources": ["database:prod/*"]}
VOLATILE = {"pdp.decision.id", "pdp.policy.version", "pdp.revision", "pdp.valid_until"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that listens."""
    collector = Collector()
    collector.back()
    yield collector
    collector.away()


class Story:
    """What was done and answered, and what the collector got of it."""

    def __init__(self, server: Running, collector: Collector) -> None:
        self.server = server
        self.collector = collector

    async def command(self, principal: str, method: str, request: object) -> None:
        """Give a command."""
        call = getattr(self.server.governance, method)
        await call(request, timeout=PATIENCE_S, metadata=as_principal(principal))

    async def ask(self, action: str = "rows.read") -> decision_pb2.Decision:
        """Ask under the session of the story, as a caller who does not sample."""
        request = check(session_id="s-7", action=decision_pb2.Action(name=action), request_id="r-1")
        call = self.server.decisions.Check(request, timeout=PATIENCE_S, metadata=(("traceparent", CALLER),))
        return (await call).decision

    async def span(self, decision: decision_pb2.Decision) -> Span:
        """Return the span of a decision, once it has arrived."""
        await until(lambda: decision.decision_id in self.collector.decisions())
        spans = list(self.collector.spans)
        return next(one for one in spans if decision.decision_id in attributes(one.attributes).values())

    def led_to(self, span: Span) -> dict[tuple[object, object], str]:
        """Return the name of the span each link leads to; ids must be equal."""
        found = {}
        for link in span.links:
            told = attributes(link.attributes)
            target = self.collector.span(link.span_id)
            assert target is not None
            assert target.trace_id == link.trace_id
            found[told["pdp.link.kind"], told["pdp.link.id"]] = target.name
        return found


@pytest.fixture
async def story(collector: Collector, serve: Serve) -> Story:
    """Tell of an approval, a session under it, and its revocation."""
    telemetry = Telemetry(otlp_endpoint=collector.endpoint, logs=True, sample_ratio=1.0)
    server = await serve(facts=False, changes={"telemetry": telemetry})
    await server.apply(*world()[:3])
    story = Story(server, collector)
    asked = pb.RequestApprovalRequest(id="chg-7", identity="worker", ticket="CHG-7", justification="release 7", **SCOPE)
    await story.command("release-manager", "RequestApproval", asked)
    await story.command("change-manager", "Approve", pb.ApproveRequest(approval_id="chg-7"))
    opened = pb.OpenSessionRequest(
        id="s-7", identity="worker", task="job", entitlement="ent-1", approval="chg-7", reason="as planned", **SCOPE
    )
    await story.command("release-manager", "OpenSession", opened)
    return story


def golden(span: Span) -> dict[str, object]:
    """Return a span's attributes without what differs from run to run, which must be there."""
    told = attributes(span.attributes)
    return {name: value for name, value in told.items() if name not in VOLATILE}


CALLED = {
    "rpc.system.name": "grpc",
    "rpc.method": "sessionpdp.v1.DecisionService/Check",
    "rpc.response.status_code": "OK",
}
QUESTION = {
    "pdp.policy.names": ["baseline"],
    "pdp.request.id": "r-1",
    "pdp.subject.id": "worker",
    "pdp.identity.id": "worker",
    "pdp.identity.kind": "workload",
    "pdp.identity.owner": "team-a",
    "pdp.session.id": "s-7",
    "pdp.task.id": "job",
    "pdp.approval.id": "chg-7",
    "pdp.approval.kind": "standard",
    "pdp.approval.ticket": "CHG-7",
    "pdp.entitlement.id": "ent-1",
    "pdp.resource.type": "database",
}
ALLOWED = {
    "pdp.action": "rows.read",
    "pdp.outcome": "allow",
    "pdp.reason.code": "GRANTED",
    "pdp.reason.codes": ["GRANTED"],
}
# Out of the scope of the session, and of its approval.
DENIED = {
    "pdp.action": "rows.drop",
    "pdp.outcome": "deny",
    "pdp.reason.code": "ACTION_OUT_OF_SCOPE",
    "pdp.reason.codes": ["ACTION_OUT_OF_SCOPE", "ACTION_OUT_OF_SCOPE"],
}


async def test_a_denial_arrives_though_its_trace_is_not_sampled_and_is_no_error(story: Story) -> None:
    """Its parent is the caller's span; an allow of the same trace is not exported."""
    await story.ask()
    span = await story.span(await story.ask("rows.drop"))
    assert (span.name, span.kind) == ("sessionpdp.v1.DecisionService/Check", Span.SPAN_KIND_SERVER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("c" * 32, "3" * 16)
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert golden(span) == CALLED | QUESTION | DENIED
    allowed = [one for one in story.collector.spans if attributes(one.attributes).get("pdp.outcome") == "allow"]
    assert allowed == []


async def test_a_decision_leads_to_the_approval_the_session_and_the_revocation(story: Story) -> None:
    """By ids that are those of spans the collector has."""
    revoked = pb.RevokeRequest(target=pb.RevokeRequest.DESCRIPTOR.fields_by_name["target"].enum_type.values_by_name[
        "REVOCATION_TARGET_SESSION"
    ].number, target_id="s-7", reason="stolen")  # fmt: skip
    await story.command("security", "Revoke", revoked)
    span = await story.span(await story.ask())
    await until(lambda: all(story.collector.span(link.span_id) is not None for link in span.links))
    led = {kind: name for (kind, _), name in story.led_to(span).items()}
    service = "sessionpdp.v1.GovernanceService"
    assert led == {
        "approval": f"{service}/Approve",
        "session": f"{service}/OpenSession",
        "revocation": f"{service}/Revoke",
    }


async def test_a_sampled_allow_says_who_for_what_under_which_consent(story: Story) -> None:
    """The golden attributes of an allow; it leads to the spans of its approval and its session."""
    request = check(session_id="s-7", request_id="r-1")
    decision = (await story.server.decisions.Check(request, timeout=PATIENCE_S)).decision
    span = await story.span(decision)
    told = attributes(span.attributes)
    assert golden(span) == CALLED | QUESTION | ALLOWED
    assert (told["pdp.decision.id"], told["pdp.revision"]) == (decision.decision_id, decision.revision)
    await until(lambda: all(story.collector.span(link.span_id) is not None for link in span.links))
    assert set(story.led_to(span)) == {("approval", "chg-7"), ("session", "s-7")}


async def test_a_command_is_a_span_with_its_actor_and_its_facts(story: Story) -> None:
    """The golden attributes of a change."""
    method = "sessionpdp.v1.GovernanceService/OpenSession"
    await until(lambda: any(span.name == method for span in story.collector.spans))
    (span,) = [span for span in story.collector.spans if span.name == method]
    assert span.kind == Span.SPAN_KIND_SERVER
    assert golden(span) == CALLED | {
        "rpc.method": method,
        "pdp.change.actor": "release-manager",
        "pdp.change.reason": "as planned",
        "pdp.change.facts": ["session:s-7"],
    }


async def test_every_decision_and_call_is_a_log_record_that_names_its_span(story: Story) -> None:
    """Also the allow whose trace is not sampled."""
    allowed, denied = await story.ask(), await story.ask("rows.drop")
    await story.command("auditor", "ListFacts", pb.ListFactsRequest())

    def logs(event: str) -> Sequence[LogRecord]:
        return [log for log in list(story.collector.logs) if log.event_name == event]

    await until(lambda: len(logs("pdp.decision")) >= 2 and bool(logs("pdp.administration")))
    told = {attributes(log.attributes)["pdp.decision.id"]: log for log in logs("pdp.decision")}
    assert {allowed.decision_id, denied.decision_id} == set(told)
    log = told[denied.decision_id]
    assert (log.severity_text, log.trace_id.hex(), log.flags) == ("INFO", "c" * 32, 0)
    assert log.span_id == (await story.span(denied)).span_id
    named = {name: value for name, value in attributes(log.attributes).items() if name not in VOLATILE}
    assert named == QUESTION | DENIED
    facts = [attributes(log.attributes).get("pdp.change.facts") for log in logs("pdp.change")]
    assert ["session:s-7"] in facts
    (call,) = logs("pdp.administration")
    assert attributes(call.attributes) == {
        "rpc.method": "sessionpdp.v1.GovernanceService/ListFacts",
        "pdp.administration.actor": "auditor",
        "pdp.administration.role": "auditor",
        "pdp.administration.outcome": "permitted",
    }


async def test_what_the_collector_rejects_is_counted_and_said(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    """Spans and log records alike; such an answer is a success but for what it says of them."""
    await story.span(await story.ask("rows.drop"))
    story.collector.rejected = 1
    await story.span(await story.ask("rows.drop"))
    await until(lambda: story.server.sidecar.evidence.telemetry_status().lost >= 2)  # what came before, too
    said = sorted(message for message in caplog.messages if "lost to the collector" in message)
    assert said == [f"some {signal} are lost to the collector: it rejects them: ''" for signal in ("logs", "spans")]


async def test_one_record_that_the_collector_refuses_holds_up_no_other(story: Story) -> None:
    """It is counted as lost, to each signal that it was refused by."""
    story.collector.poison = "rows.burn"
    refused = [await story.ask(action) for action in ("rows.drop", "rows.burn", "rows.drop")][1]
    await story.span(await story.ask("rows.drop"))
    await until(lambda: story.server.sidecar.evidence.telemetry_status().lost == 2)
    assert refused.decision_id not in story.collector.decisions()
