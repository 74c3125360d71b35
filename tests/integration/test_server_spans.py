"""A story told through the real doors leaves spans that lead from each answer to those who made it possible."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import governance_pb2

from pdp.core.model import Instant, Revocation, RevocationTarget
from pdp.doors.facts_wire import message_of
from pdp.settings import Telemetry
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Running, check, until, world

APPROVED = "00-" + "a" * 32 + "-" + "1" * 16 + "-01"
OPENED = "00-" + "b" * 32 + "-" + "2" * 16 + "-01"
ASKED = "00-" + "c" * 32 + "-" + "3" * 16 + "-01"
ITEM = "00-" + "d" * 32 + "-" + "4" * 16 + "-01"


class Story:
    """A sidecar whose spans are kept."""

    def __init__(self, server: Running, exporter: InMemorySpanExporter) -> None:
        self.server = server
        self._exporter = exporter

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """The spans so far."""
        return self._exporter.get_finished_spans()

    async def span_of(self, decision: pb.Decision) -> ReadableSpan:
        """Return the span of a decision, once it is exported."""

        def found() -> list[ReadableSpan]:
            return [span for span in self.spans if decision.decision_id in (span.attributes or {}).values()]

        await until(lambda: bool(found()))
        return found()[0]

    async def write(self, numbers: slice, traceparent: str) -> None:
        """Write some of the world's facts in a trace."""
        request = governance_pb2.ApplyFactsRequest(facts=[message_of(fact) for fact in world()[numbers]], reason="go")
        metadata = (("traceparent", traceparent),)
        await self.server.governance.ApplyFacts(request, metadata=metadata, timeout=PATIENCE_S)


@pytest.fixture
async def story(serve: Serve) -> Story:
    """Return a story whose approval and session were written in traces of their own."""
    exporter = InMemorySpanExporter()
    server = await serve(facts=False, exporter=exporter, changes={"telemetry": Telemetry(sample_ratio=1.0)})
    story = Story(server, exporter)
    await story.write(slice(0, 3), "")
    await story.write(slice(3, 4), APPROVED)
    await story.write(slice(4, 5), OPENED)
    return story


def trace_of(traceparent: str) -> int:
    """Return the trace id of a trace parent."""
    return int(traceparent.split("-")[1], 16)


def span_id_of(traceparent: str) -> int:
    """Return the span id of a trace parent."""
    return int(traceparent.split("-")[2], 16)


def linked_traces(span: ReadableSpan) -> set[int]:
    """Return the traces that a span links to."""
    return {link.context.trace_id for link in span.links}


async def test_an_allow_leads_to_the_approval_and_to_the_session(story: Story) -> None:
    """And each link to the very span in which the change was made."""
    answer = await story.server.decisions.Check(check(), timeout=PATIENCE_S)
    span = await story.span_of(answer.decision)
    assert linked_traces(span) == {trace_of(APPROVED), trace_of(OPENED)}
    changes = {(one.context.trace_id, one.context.span_id) for one in story.spans if one.context is not None}
    assert {(link.context.trace_id, link.context.span_id) for link in span.links} <= changes


async def test_a_denial_leads_to_the_revocation(story: Story) -> None:
    """It is no error of the span."""
    revocation = Revocation(
        id="r-1",
        target=RevocationTarget.SESSION,
        target_id="s-1",
        reason="stolen",
        effective_at=Instant(time.time_ns()),
    )
    whole = message_of(revocation).revocation
    request = governance_pb2.RevokeRequest(target=whole.target, target_id="s-1", reason="stolen")
    await story.server.governance.Revoke(request, metadata=(("traceparent", ITEM),), timeout=PATIENCE_S)
    answer = await story.server.decisions.Check(check(), timeout=PATIENCE_S)
    span = await story.span_of(answer.decision)
    assert trace_of(ITEM) in linked_traces(span)
    assert span.status.is_ok or span.status.is_unset


async def test_the_parent_is_the_callers_span(story: Story) -> None:
    """From the metadata of the call; the answer names the trace."""
    call = story.server.decisions.Check(check(), metadata=(("traceparent", ASKED),), timeout=PATIENCE_S)
    decision = (await call).decision
    span = await story.span_of(decision)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (trace_of(ASKED), span_id_of(ASKED))
    assert int(decision.trace_id, 16) == trace_of(ASKED)


@pytest.mark.parametrize("way", ["unary", "batch", "stream", "explain", "watch"])
async def test_the_parent_of_an_item_is_its_own(story: Story, way: str) -> None:
    """Many callers may share one stream, so the message wins over the metadata."""
    decisions, asked, metadata = story.server.decisions, check(traceparent=ITEM), (("traceparent", ASKED),)
    if way == "unary":
        decision = (await decisions.Check(asked, metadata=metadata)).decision
    elif way == "batch":
        decision = (await decisions.CheckBatch(pb.CheckBatchRequest(checks=[asked]), metadata=metadata)).decisions[0]
    elif way == "explain":
        decision = (await decisions.Explain(pb.ExplainRequest(check=asked), metadata=metadata)).decision
    elif way == "watch":
        watch = decisions.Watch(pb.WatchRequest(check=asked), metadata=metadata)
        decision = (await watch.read()).decision
        watch.cancel()
    else:
        stream = decisions.CheckStream(metadata=metadata)
        await stream.write(pb.CheckStreamRequest(checks=[asked]))
        decision = (await stream.read()).decisions[0]
        stream.cancel()
    span = await story.span_of(decision)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (trace_of(ITEM), span_id_of(ITEM))
