"""`pdp review`: should it persist?"""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.governing.verbs import Verb, add_verb, carry_out
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.manner import Manner
from pdp.cli.options import Json
from pdp.cli.terminal import show, show_json
from pdp.cli.trouble import CommandError
from pdp.core.model import FactKind
from pdp.governance import commands as c

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdp.core.model import AnyFact

Cause: TypeAlias = Literal["certification_due", "break_glass", "unused", "broader_than_used", "identity_retired"]
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

_DONE = {c.ReviewChoice.KEEP: "kept", c.ReviewChoice.NARROW: "narrowed", c.ReviewChoice.REMOVE: "removed"}
_REMOVED = {
    FactKind.ENTITLEMENT: "no session under it is allowed anything any more",
    FactKind.APPROVAL: "it is revoked: no session is allowed anything under it",
    FactKind.SESSION: "it is closed, and every session delegated from it has ended too",
}


def _decide(door: Door, manner: Manner, command: c.DecideReview, *, as_json: bool) -> None:
    """Decide, and tell what has become of what was reviewed."""
    from pdp.cli.change_view import changed_json, changed_view

    kind, id_ = _kind_and_id(command.review_id)
    certifies = kind is FactKind.ENTITLEMENT and command.choice is not c.ReviewChoice.REMOVE
    if certifies and command.until is None:
        message = "`--until` is missing"
        raise CommandError(message, hint="until when the entitlement is certified, e.g. `--until +90d`")
    with administering(door) as governance:
        changed = carry_out(governance, command, manner, door)
    if as_json:
        show_json({"review_id": command.review_id, "choice": command.choice, **changed_json(changed)})
        return
    removed = command.choice is c.ReviewChoice.REMOVE
    follows = _REMOVED[kind] if removed else "; ".join(_outcome(command.choice, changed.facts[0]))
    show(changed_view(_DONE[command.choice], f"{kind} `{id_}`", changed, follows))


def _outcome(choice: c.ReviewChoice, fact: AnyFact) -> Iterator[str]:
    """Yield what has become of a fact that persists."""
    from pdp.cli.fact_view import field_text
    from pdp.core.model import Entitlement

    if choice is c.ReviewChoice.NARROW:
        yield f"narrowed to {field_text(fact, 'actions')} on {field_text(fact, 'resources')}"
    if isinstance(fact, Entitlement):
        yield f"kept until {field_text(fact, 'certified_until')}"


def _kind_and_id(review_id: str) -> tuple[FactKind, str]:
    """Return what is reviewed; raise CommandError for what does not say of which kind it is."""
    kind, _, id_ = review_id.partition(":")
    if kind not in _REMOVED:
        message = f"`{review_id}` does not say what is reviewed: `entitlement:`, `approval:` or `session:` and its id"
        raise CommandError(message, hint=f"write `entitlement:{review_id}`")
    return FactKind(kind), id_


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

    _kind_and_id(id_)
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
    add_verb(group, "review", DECIDE, _decide)
