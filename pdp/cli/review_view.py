"""Reviews as people read them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text
from sessionpdp.v1 import governance_pb2 as pb

from pdp.cli.decision_view import DENY, FAINT, rows
from pdp.cli.fact_list_view import listing
from pdp.cli.fact_view import fact_view
from pdp.cli.facts_read import fact_of_message
from pdp.cli.message_json import word_of
from pdp.cli.usage_view import stamp_text, usage_text, usage_view

if TYPE_CHECKING:
    from rich.console import RenderableType

_CAUSES = pb.Review.DESCRIPTOR.fields_by_name["causes"]
_CHOICE = pb.Proposal.DESCRIPTOR.fields_by_name["choice"]


def reviews_view(reviews: Iterable[pb.Review]) -> RenderableType:
    """Return what is due, a line each."""
    table = listing("review", "why", "due", "used", "proposed")
    for one in reviews:
        table.add_row(Text(one.id), _causes(one), _due(one), usage_text(one.usage), _choice(one.proposal))
    return table if table.rows else Text("nothing is due for review")


def review_view(review: pb.Review) -> RenderableType:
    """Return all there is to decide one review by, and how to."""
    return Group(
        rows(_summary(review)),
        Text(),
        fact_view(fact_of_message(review.fact)),
        Text(),
        Text("to decide", style=FAINT),
        Padding(Text(_command(review)), (0, 0, 0, 2)),
    )


def _summary(review: pb.Review) -> Iterator[tuple[str, RenderableType]]:
    yield "review", Text(review.id)
    yield "why", Text(_causes(review) or "it is not due")
    if review.HasField("due"):
        yield "due", _due(review)
    yield "used", usage_view(review.usage)
    yield "proposed", Text(f"{_choice(review.proposal)}: {review.proposal.why}")
    if review.proposal.actions:
        yield "to actions", Text("\n".join(review.proposal.actions))
    if review.proposal.resources:
        yield "to resources", Text("\n".join(review.proposal.resources))


def _command(review: pb.Review) -> str:
    """Return the command that does what is proposed."""
    choice = _choice(review.proposal)
    until = " --until +90d" if review.id.startswith("entitlement:") and choice != "remove" else ""
    return f"pdp review decide {shlex.quote(review.id)} {choice}{until} --revision {review.fact.revision}"


def _causes(review: pb.Review) -> str:
    return ", ".join(word_of(_CAUSES, cause).replace("_", " ") for cause in review.causes)


def _choice(proposal: pb.Proposal) -> str:
    return word_of(_CHOICE, proposal.choice)


def _due(review: pb.Review) -> Text:
    if not review.HasField("due"):
        return Text("")
    overdue = " (overdue)" if review.overdue else ""
    return Text(stamp_text(review.due) + overdue, style=DENY if review.overdue else "")
