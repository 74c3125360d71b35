"""Spans: the golden form of an allow, a deny and a change, and which records become spans at all."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanKind, StatusCode

from pdp.core.decide import decide, refuse
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalState,
    Drop,
    Entitlement,
    FactKind,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Request,
    Revocation,
    RevocationTarget,
    Session,
    Task,
)
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot
from pdp.evidence.line.log_line import decision_log_line
from pdp.evidence.line.record_json import document_of
from pdp.evidence.record import AnyRecord, ChangeRecord, DecisionRecord, LifecycleRecord
from pdp.evidence.telemetry.due import has_span
from pdp.evidence.telemetry.spans import SpanMaker
from pdp.evidence.trace import TraceContext, parse_traceparent

NOW = Instant(1_772_355_600_000_000_000)
LATER = Instant(NOW + 3_600_000_000_000)
CALLER = TraceContext("a" * 32, "b" * 16, sampled=True)
OWN = TraceContext("a" * 32, "c" * 16, "b" * 16, sampled=True)
APPROVED, OPENED, REVOKED = (f"00-{digit * 32}-{digit * 16}-01" for digit in "123")
ACTIONS, RESOURCES = ActionScope(["rows.*"]), ResourceScope(["database:prod/**"])
FACTS: tuple[AnyFact, ...] = (
    Identity(id="job", kind=IdentityKind.CI_JOB, owner="team-data"),
    Task(id="t-1"),
    Entitlement(
        id="e-1", identity=IdentityScope(["job"]), actions=ACTIONS, resources=RESOURCES, certified_until=LATER
    ),
    Approval(
        id="a-1", ticket="CHG-1", requested_by="r", approved_by="o", state=ApprovalState.APPROVED, actions=ACTIONS,
        resources=RESOURCES, not_before=NOW, expires_at=LATER, traceparent=APPROVED,
    ),
    Session(
        id="s-1", identity="job", task="t-1", entitlement="e-1", approval="a-1", actions=ACTIONS, resources=RESOURCES,
        not_before=NOW, expires_at=LATER, traceparent=OPENED,
    ),
)  # fmt: skip
REVOCATION = Revocation(
    id="x-1", target=RevocationTarget.SESSION, target_id="s-1", effective_at=NOW, reason="incident", traceparent=REVOKED
)
REQUEST = Request("job", "rows.read", "database:prod/users", session="s-1", request_id="r-1")
MAKER = SpanMaker(Resource({"service.name": "pdp"}), "1.2.3")


def record(*more: AnyFact, trace: TraceContext = OWN, request: Request = REQUEST) -> DecisionRecord:
    """Return the record of the request's decision when `more` facts are known."""
    state = Snapshot()
    state.readiness = Readiness.READY
    state.apply(7, [Put(fact) for fact in (*FACTS, *more)])
    return DecisionRecord(
        decision_id="d-1", trace=trace, method="Check", caller="proxy", request=request,
        decision=decide(request, state, NOW), started_at=NOW, ended_at=Instant(NOW + 5_000),
    )  # fmt: skip


def span_of(value: AnyRecord, maker: SpanMaker = MAKER) -> ReadableSpan:
    """Return the span of a record that has one."""
    span = maker.span(document_of(value))
    assert span is not None
    return span


def links(span: ReadableSpan) -> dict[tuple[object, object], str]:
    """Return the traceparent each link leads to, by link kind and fact."""
    return {_label(link): _traceparent(link) for link in span.links}


def _label(link: Link) -> tuple[object, object]:
    attributes: Mapping[str, object] = link.attributes or {}
    return attributes["pdp.link.kind"], attributes["pdp.link.id"]


def _traceparent(link: Link) -> str:
    return f"00-{link.context.trace_id:032x}-{link.context.span_id:016x}-{link.context.trace_flags:02x}"


def test_an_allow_is_a_server_span_below_the_callers() -> None:
    """Ids, parent, times and kind come from the record."""
    span = span_of(record())
    assert span.context is not None
    assert span.parent is not None
    assert (span.name, span.kind) == ("sessionpdp.v1.DecisionService/Check", SpanKind.SERVER)
    assert (span.context.trace_id, span.context.span_id) == (int("a" * 32, 16), int("c" * 16, 16))
    assert (span.parent.span_id, span.parent.is_remote) == (int("b" * 16, 16), True)
    assert (span.start_time, span.end_time) == (NOW, NOW + 5_000)
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("sessionpdp", "1.2.3")


def test_an_allow_says_who_for_what_under_which_consent() -> None:
    """The golden set of attributes; nothing empty, no resource id."""
    version = record().decision.policy_version
    expected = {
        "rpc.system.name": "grpc",
        "rpc.method": "sessionpdp.v1.DecisionService/Check",
        "rpc.response.status_code": "OK",
        "pdp.outcome": "allow",
        "pdp.reason.code": "GRANTED",
        "pdp.reason.codes": ("GRANTED",),
        "pdp.decision.id": "d-1",
        "pdp.request.id": "r-1",
        "pdp.caller": "proxy",
        "pdp.subject.id": "job",
        "pdp.identity.id": "job",
        "pdp.identity.kind": "ci_job",
        "pdp.identity.owner": "team-data",
        "pdp.session.id": "s-1",
        "pdp.task.id": "t-1",
        "pdp.approval.id": "a-1",
        "pdp.approval.kind": "standard",
        "pdp.approval.ticket": "CHG-1",
        "pdp.entitlement.id": "e-1",
        "pdp.action": "rows.read",
        "pdp.resource.type": "database",
        "pdp.revision": 7,
        "pdp.valid_until": "2026-03-01T10:00:00.000000000Z",
    } | ({"pdp.policy.version": version} if version else {})
    assert expected == dict(span_of(record()).attributes or {})


def test_an_allow_links_to_its_approval_and_its_session() -> None:
    """Both happened earlier, in traces of their own."""
    assert links(span_of(record())) == {("approval", "a-1"): APPROVED, ("session", "s-1"): OPENED}


def test_a_deny_is_no_error_and_links_to_the_revocation() -> None:
    """Who revoked is one click away."""
    span = span_of(record(REVOCATION))
    attributes = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.UNSET
    assert (attributes["pdp.outcome"], attributes["pdp.reason.code"]) == ("deny", "SESSION_REVOKED")
    assert links(span)[("revocation", "x-1")] == REVOKED


def test_a_fact_without_a_trace_gets_no_link() -> None:
    """Facts loaded from a file have none."""
    plain = replace(REVOCATION, traceparent="")
    assert {("approval", "a-1"), ("session", "s-1")} == set(links(span_of(record(plain))))


def test_the_resource_id_is_opt_in() -> None:
    """It may say more than telemetry should."""
    maker = SpanMaker(Resource({}), resource_ids=True)
    assert dict(span_of(record(), maker).attributes or {})["pdp.resource.id"] == "prod/users"


def test_no_decision_is_an_error_span() -> None:
    """Only INTERNAL_ERROR means that nothing could be decided."""
    failed = refuse(Code.INTERNAL_ERROR, "a bug", Snapshot(), NOW)
    span = span_of(replace(record(), decision=failed))
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "INTERNAL_ERROR"


def test_the_root_of_a_trace_has_no_parent() -> None:
    """A caller without `traceparent`."""
    assert span_of(record(trace=TraceContext("d" * 32, "e" * 16, sampled=True))).parent is None


def test_a_change_is_the_span_its_facts_lead_to() -> None:
    """The stamp in a fact names exactly this span."""
    stamp = parse_traceparent(REVOKED)
    assert stamp is not None
    change = ChangeRecord(
        revision=8, changes=(Put(REVOCATION), Drop(FactKind.TASK, "t-1")), actor="operator", reason="incident", at=NOW,
        ended_at=LATER, method="Revoke", trace=stamp,
    )  # fmt: skip
    span = span_of(change)
    assert span.context is not None
    assert (span.context.trace_id, span.context.span_id) == (int("3" * 32, 16), int("3" * 16, 16))
    assert (span.name, span.kind) == ("sessionpdp.v1.GovernanceService/Revoke", SpanKind.SERVER)
    assert (span.start_time, span.end_time) == (NOW, LATER)
    expected = {
        "rpc.system.name": "grpc",
        "rpc.method": "sessionpdp.v1.GovernanceService/Revoke",
        "rpc.response.status_code": "OK",
        "pdp.revision": 8,
        "pdp.change.actor": "operator",
        "pdp.change.reason": "incident",
        "pdp.change.facts": ("revocation:x-1", "task:t-1"),
    }
    assert expected == dict(span.attributes or {})


UNSAMPLED = TraceContext("a" * 32, "c" * 16)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (record(), True),
        (record(trace=UNSAMPLED), False),
        (record(REVOCATION, trace=UNSAMPLED), True),
        (replace(record(trace=UNSAMPLED), decision=replace(record().decision, durable=True)), True),
        (ChangeRecord(revision=1, changes=(), actor="a", at=NOW, trace=UNSAMPLED), True),
        (ChangeRecord(revision=1, changes=(), actor="a", at=NOW), False),
        (LifecycleRecord(name="started", at=NOW), False),
    ],
)
def test_only_routine_allows_are_sampled(value: AnyRecord, *, expected: bool) -> None:
    """Denials, durable decisions and changes are always exported."""
    assert expected == has_span(value)


def test_the_log_line_shares_the_ids_of_the_record() -> None:
    """And leaves out what there is none of, and the context."""
    line = decision_log_line(record(request=replace(REQUEST, context={"secret": "x"})))
    assert (line["decision_id"], line["trace_id"], line["span_id"]) == ("d-1", "a" * 32, "c" * 16)
    assert (line["event"], line["outcome"], line["code"], "context" in line) == ("decision", "allow", "GRANTED", False)
