"""Trace context: what counts as a caller's trace, and which new traces are sampled."""

from __future__ import annotations

import pytest

from pdp.evidence.trace import Ids, TraceContext, parse_traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_valid_traceparent_names_the_callers_span() -> None:
    """Ids and the sampled flag are taken over."""
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01") == TraceContext(TRACE, SPAN, sampled=True)


def test_other_flags_do_not_sample() -> None:
    """Only the lowest bit means sampled."""
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-02") == TraceContext(TRACE, SPAN, sampled=False)


def test_a_later_version_may_carry_more() -> None:
    """Its first four fields mean the same."""
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-more") == TraceContext(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"01-{TRACE}-{SPAN}-01more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}é-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_anything_else_is_no_traceparent(text: str) -> None:
    """A malformed header is as good as none."""
    assert parse_traceparent(text) is None


def test_a_span_reads_back_from_its_traceparent() -> None:
    """What is sent on names the same span."""
    span = Ids(ratio=1.0).child(None)
    assert parse_traceparent(span.traceparent) == TraceContext(span.trace_id, span.span_id, sampled=True)


def test_a_child_stays_in_the_trace_and_follows_its_sampling() -> None:
    """The caller's flag is honoured whatever the ratio."""
    parent = TraceContext(TRACE, SPAN, sampled=False)
    child = Ids(ratio=1.0).child(parent)
    assert (child.trace_id, child.parent_span_id, child.sampled) == (TRACE, SPAN, False)
    assert child.span_id != SPAN


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (1.0, 1000)])
def test_the_ratio_samples_none_or_all(ratio: float, expected: int) -> None:
    """The ends of the range are exact."""
    ids = Ids(ratio=ratio)
    assert expected == sum(ids.child(None).sampled for _ in range(1000))


def test_the_ratio_samples_by_trace_id() -> None:
    """With the same seed the same traces are sampled, about as many as asked for."""
    chosen = [[Ids(ratio=0.25, seed=b"x").child(None).sampled] for _ in range(2)]
    ids = Ids(ratio=0.25, seed=b"seed")
    assert chosen[0] == chosen[1]
    assert 150 < sum(ids.child(None).sampled for _ in range(1000)) < 350


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_ratio_outside_its_range_is_refused(ratio: float) -> None:
    """It would silently sample all or nothing."""
    with pytest.raises(ValueError, match="is not between 0 and 1"):
        Ids(ratio=ratio)


def test_ids_do_not_repeat() -> None:
    """Two sources never give the same decision id."""
    sources = Ids(), Ids()
    assert len({source.decision_id() for source in sources for _ in range(500)}) == 1000
