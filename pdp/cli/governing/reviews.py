"""`pdp review`: should it persist?"""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.governing.verbs import Verb, add_verb
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import Json
from pdp.cli.terminal import show, show_json
from pdp.governance import commands as c

Cause: TypeAlias = Literal["certification_due", "break_glass", "unused", "broader_than_used"]
"""The words of `governance.review_queue.ReviewCause`, which is not loaded for them."""

_REVIEW = "entitlement:deploy-shop"

DECIDE = Verb(
    "decide",
    c.DecideReview,
    done="decided",
    summary="Decide what becomes of it: kept, narrowed to what was used, or removed.",
    details=(
        "To keep or narrow an entitlement certifies it, until a date. An emergency is kept if it was right; removed, "
        "its approval is revoked as well. Nobody reviews what they own, requested, granted or used."
    ),
    example=(
        f"pdp review decide {_REVIEW} narrow --until +90d\n"
        "pdp review decide approval:inc-7 keep --reason 'checkout was down'"
    ),
    arguments=("review_id", "choice"),
    says={
        "actions": "Action to narrow to; may be given several times. Without any: as proposed.",
        "resources": "Resource to narrow to; may be given several times. Without any: as proposed.",
        "until": "Until when an entitlement is certified, in RFC 3339 or as `+90d`.",
        "revision": "Decide only if it is still as it was at this revision, which `pdp review show` tells.",
    },
)

_LIST_HELP = help_text(
    "List what is due for review, the most urgent first, with what the evidence of use suggests.",
    examples=["pdp review list", "pdp review list --cause break_glass"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def list_reviews(
    door: Door,
    *,
    cause: Annotated[
        Cause | None, typer.Option("--cause", help="Only what is due for this reason.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """List what is due."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.message_json import message_json
    from pdp.cli.review_view import reviews_view

    number = governance_pb2.ReviewCause.Value(f"REVIEW_CAUSE_{(cause or 'unspecified').upper()}")
    request = governance_pb2.ListReviewsRequest(cause=number)
    with administering(door) as governance:
        answer = governance.ListReviews(request, timeout=door.timeout_s)
    if as_json:
        show_json(message_json(answer))
    else:
        show(reviews_view(answer.reviews))


_SHOW_HELP = help_text(
    "Tell all there is to decide by: the fact, how it was used, and what that suggests.",
    examples=[f"pdp review show {_REVIEW}"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def show_review(
    door: Door,
    *,
    id_: Annotated[
        str, typer.Argument(help="What is reviewed, as `pdp review list` tells.", metavar="KIND:ID", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Tell one review."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.message_json import message_json
    from pdp.cli.review_view import review_view

    with administering(door) as governance:
        answer = governance.GetReview(governance_pb2.GetReviewRequest(review_id=id_), timeout=door.timeout_s)
    if as_json:
        show_json(message_json(answer))
    else:
        show(review_view(answer.review))


def add_to(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("list", help=_LIST_HELP)(list_reviews)
    group.command("show", help=_SHOW_HELP)(show_review)
    add_verb(group, "review", DECIDE)
