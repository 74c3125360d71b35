"""A span or log record says what its record says, though it is told from the line alone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource

from pdp.core.decide import decide, refuse
from pdp.core.decision import Allow
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
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
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.record_json import body_of, document_of
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    DecisionRecord,
    Lapse,
    LapseRecord,
)
from pdp.evidence.telemetry.due import Due, Head, has_span
from pdp.evidence.telemetry.otlp_logs import LogMaker
from pdp.evidence.telemetry.otlp_spans import SpanRequests
from pdp.evidence.telemetry.spans import SpanMaker
from pdp.evidence.telemetry.told import told_by_line
from pdp.evidence.trace import TraceContext

NOW = Instant(1_772_355_600_000_000_000)
LATER = Instant(NOW + 3_600_000_000_000)
SPANS = SpanMaker(Resource({"service.name": "pdp"}), "1", resource_ids=True)
REQUESTS = SpanRequests({"service.name": "pdp"}, "1", resource_ids=True)
LOGS = LogMaker({"service.name": "pdp"}, "1", resource_ids=True)
ACTIONS, RESOURCES = ActionScope(["**"]), ResourceScope(["db:**"])

instants = st.integers(0, 1 << 61).map(Instant)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = texts.filter(bool)
traces = st.builds(
    TraceContext,
    st.integers(1, (1 << 128) - 1).map("{:032x}".format),
    st.integers(1, (1 << 64) - 1).map("{:016x}".format),
    st.one_of(st.just(""), st.integers(1, (1 << 64) - 1).map("{:016x}".format)),
    st.booleans(),
)
traceparents = st.one_of(st.just(""), traces.map(lambda trace: trace.traceparent))


@st.composite
def decisions(draw: Callable[..., object]) -> DecisionRecord:
    """Draw a decision over a small world: facts that are there or not, traced or not, revoked or not."""
    traced: Callable[[], str] = lambda: str(draw(traceparents))  # noqa: E731  # short
    facts: list[AnyFact] = [
        Identity(id="job", kind=draw(st.sampled_from(IdentityKind)), owner=str(draw(texts))),  # type: ignore[arg-type]
        Task(id="t"),
        Entitlement(
            id="e", identity=IdentityScope(["job"]), actions=ACTIONS, resources=RESOURCES, certified_until=LATER
        ),
        Approval(
            id="a", kind=draw(st.sampled_from(ApprovalKind)), state=ApprovalState.APPROVED, ticket=str(draw(texts)),  # type: ignore[arg-type]
            requested_by="r", approved_by="o", actions=ACTIONS, resources=RESOURCES, not_before=NOW,
            expires_at=LATER, traceparent=traced(),
        ),
        Session(
            id="s", identity="job", task="t", entitlement="e", approval="a", actions=ACTIONS, resources=RESOURCES,
            not_before=NOW, expires_at=LATER, traceparent=traced(),
        ),
        Revocation(
            id="x", target=RevocationTarget.SESSION, target_id="s", effective_at=NOW, reason="why",
            traceparent=traced(),
        ),
    ]  # fmt: skip
    state = Snapshot()
    state.readiness = Readiness.READY
    present = draw(st.sets(st.sampled_from(range(6))) | st.just(set(range(5))))
    state.apply(7, [Put(fact) for number, fact in enumerate(facts) if number in present])  # type: ignore[operator]
    request = Request("job", str(draw(names)), f"db:{draw(names)}", session="s", request_id=str(draw(texts)))
    decision = decide(request, state, NOW)
    if draw(st.integers(0, 9)) == 0:
        decision = refuse(Code.INTERNAL_ERROR, "a bug", state, NOW)
    started = draw(instants)
    return DecisionRecord(
        decision_id=str(draw(names)), trace=draw(traces), method=str(draw(st.sampled_from(["Check", "Watch"]))),  # type: ignore[arg-type]
        caller=str(draw(texts)), request=request, decision=replace(decision, durable=draw(st.booleans())),
        started_at=started, ended_at=draw(st.one_of(instants, st.just(started))),  # type: ignore[arg-type]
    )  # fmt: skip


changes = st.builds(
    ChangeRecord,
    revision=st.integers(0, 1 << 40),
    changes=st.lists(
        st.one_of(
            names.map(lambda name: Put(Task(id=name))),
            st.builds(Drop, st.sampled_from(FactKind), names),
        ),
        max_size=70,
    ).map(tuple),
    actor=texts,
    reason=texts,
    at=instants,
    ended_at=st.one_of(st.none(), instants),
    method=st.sampled_from(["", "Revoke"]),
    traceparent=traceparents,
    trace=st.one_of(st.none(), traces),
)
lapses = st.builds(
    LapseRecord,
    at=instants,
    ended_at=instants,
    what=st.sampled_from(Lapse),
    kind=st.sampled_from(FactKind),
    id=names,
    identity=texts,
    task=texts,
    approval=texts,
    traceparent=traceparents,
    trace=traces,
)
calls = st.builds(
    AdministrationRecord,
    at=instants,
    method=st.sampled_from(["Revoke", "Approve"]),
    actor=texts,
    role=texts,
    outcome=st.sampled_from(AdministrationOutcome),
    rule=texts,
    message=texts,
    about=texts,
    traceparent=traceparents,
)
records = st.one_of(decisions(), changes, lapses, calls)


def line(record: AnyRecord) -> bytes:
    """Return the line of a record, as a reader of the journal gets it."""
    return line_of(body_of(record), 7, GENESIS)[0].removesuffix(b"\n")


@given(records)
def test_a_span_of_a_record_and_of_its_line_are_equal(record: AnyRecord) -> None:
    """Whatever the record; or neither has one."""
    span, again = SPANS.span(document_of(record)), SPANS.span(told_by_line(line(record)))
    assert (span is not None) == has_span(record)
    assert (None if span is None else span.to_json()) == (None if again is None else again.to_json())
    if span is not None and again is not None:
        links = [[(link.context, dict(link.attributes or {})) for link in one.links] for one in (span, again)]
        assert links[0] == links[1]
        assert (span.context, span.parent) == (again.context, again.parent)


@given(st.lists(records, max_size=5))
def test_spans_on_the_wire_are_those_that_the_sdk_would_send(some: list[AnyRecord]) -> None:
    """There are two ways to make them, and one account of what they are."""
    told = [told_by_line(line(record)) for record in some]
    assert REQUESTS.request(told) == encode_spans(SPANS.spans(told))


@given(records)
def test_a_log_record_of_a_record_and_of_its_line_are_equal(record: AnyRecord) -> None:
    """Byte for byte."""
    assert LOGS.request([document_of(record)]) == LOGS.request([told_by_line(line(record))])


@given(record=records, logs=st.booleans())
def test_a_line_is_due_exactly_if_its_record_has_a_span_or_is_logged(record: AnyRecord, *, logs: bool) -> None:
    """Else something would be sent that never was due, or be left out."""
    head = msgspec.json.decode(line(record), type=Head)
    routine = isinstance(record, DecisionRecord) and isinstance(record.decision, Allow) and not record.decision.durable
    assert (Due(logs).takes(head), Due(logs).must(head)) == (logs or has_span(record), not routine)
