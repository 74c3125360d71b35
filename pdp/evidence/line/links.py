"""Where a decision leads back to: the spans that last wrote its approval, its session and what overrides it."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from pdp.core.decision import Allow, Decision
from pdp.core.model import AnyFact
from pdp.evidence.trace import parse_traceparent


class LinkJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """The span that last wrote a fact."""

    kind: str
    """`approval`, `session`, `revocation`."""
    id: str
    trace_id: str
    span_id: str
    sampled: bool = False


def links_of(decision: Decision) -> tuple[LinkJson, ...]:
    """Return the links of a decision; a fact that was not traced has none."""
    basis = decision.basis
    facts: list[tuple[str, AnyFact]] = []
    if basis.approval is not None:
        facts.append(("approval", basis.approval))
    if basis.session is not None:
        facts.append(("session", basis.session))
    if not isinstance(decision, Allow):
        by = {denial.by.id: denial.by for denial in decision.reasons if denial.by is not None}
        facts += (("revocation", revocation) for revocation in by.values())
    links = (link_to(kind, fact.id, fact.traceparent) for kind, fact in facts if fact.traceparent)
    return tuple(link for link in links if link is not None)


@lru_cache(maxsize=4096)  # the same sessions are asked about again and again, on the thread that others wait for
def link_to(kind: str, id_: str, traceparent: str) -> LinkJson | None:
    """Return a link to the span that last wrote a fact, or None if it was not traced."""
    trace = parse_traceparent(traceparent)
    return None if trace is None else LinkJson(kind, id_, trace.trace_id, trace.span_id, trace.sampled)
