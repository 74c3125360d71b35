"""`pdp session`: access, just in time, and its whole story."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from typing import Annotated

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.governing.lists import add_list
from pdp.cli.governing.verbs import Verb, add_verb
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import OUTPUT, Json
from pdp.cli.terminal import show, show_json
from pdp.core.model import FactKind
from pdp.governance import commands as c

_SAYS = {
    "idle_timeout": "Ends when not used for so long, e.g. `10m`.",
    "constraints": "Value that an attribute of the context may have, e.g. `region=eu`; may be given several times.",
}
_OPEN = "What nobody has closed stays `open`, also when its time is over: `pdp session show` tells what has ended."
_FROM_NOW = "How long from now on, e.g. `30m`. Without it: as long as may be, at most an hour."

VERBS = (
    Verb(
        "open",
        c.OpenSession,
        done="opened",
        summary="Begin access, just in time.",
        details=(
            "Judged by the rules that judge every call under it: within its entitlement and approval, no longer "
            "than policies allow. It ends by itself."
        ),
        example=(
            "pdp session open session-release-7.4 --identity spiffe://shop.example/deployer --task release-7.4 \\\n"
            "  --entitlement deploy-shop --approval change-1842 \\\n"
            "  --action deploy.start --resource 'cluster:prod/shop/**' --ttl 30m --idle-timeout 10m"
        ),
        says=_SAYS,
    ),
    Verb(
        "renew",
        c.RenewSession,
        done="renewed",
        summary="Move a session's end. Never past what policy, entitlement and approval allow: ask again.",
        example="pdp session renew session-release-7.4 --ttl 20m",
        says={"ttl": _FROM_NOW},
    ),
    Verb(
        "narrow",
        c.NarrowSession,
        done="narrowed",
        summary="Take from what a session may do. What is left out stays as it is.",
        example="pdp session narrow session-release-7.4 --resource cluster:prod/shop/checkout --max-uses 1",
        says={**_SAYS, "ttl": "How long from now on, e.g. `30m`."},
    ),
    Verb(
        "close",
        c.CloseSession,
        done="closed",
        summary="Close a session, and so every session delegated from it.",
        example="pdp session close session-release-7.4",
        follows="every session delegated from it has ended too",
    ),
    Verb(
        "delegate",
        c.DelegateSession,
        done="delegated",
        summary="Open a session of another identity within this one. It ends with any of its ancestors.",
        example=(
            "pdp session delegate session-release-7.4 --identity spiffe://shop.example/migrator \\\n"
            "  --entitlement migrate-shop --action deploy.migrate --ttl 10m"
        ),
        arguments=("parent",),
        says={
            **_SAYS,
            "ttl": _FROM_NOW,
            "id": "Id of the new session. Without it: one is made.",
            "parent": "Session that delegates.",
            "identity": "Identity that gets the new session.",
            "task": "Task that justifies it. Without it: the delegating session's.",
            "actions": "Action; may be given several times. Without it: the delegating session's.",
            "resources": "Resource; may be given several times. Without it: the delegating session's.",
        },
    ),
)

_SHOW_HELP = help_text(
    "Tell a session's whole story: who, for which task, on whose consent, what was done, and why it has ended.",
    examples=["pdp session show session-release-7.4", "pdp session show session-release-7.4 --json | jq .end"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def show_session(
    door: Door,
    *,
    id_: Annotated[str, typer.Argument(help="Its id.", metavar="ID", show_default=False)],
    decisions: Annotated[
        int,
        typer.Option(
            "--decisions", help="How many of the latest decisions.", min=1, max=100, metavar="N", rich_help_panel=OUTPUT
        ),
    ] = 10,
    as_json: Json = False,
) -> None:
    """Tell a session's story."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.message_json import message_json
    from pdp.cli.story_view import story_view

    request = governance_pb2.DescribeSessionRequest(session_id=id_, decisions=decisions)
    with administering(door) as governance:
        story = governance.DescribeSession(request, timeout=door.timeout_s)
    if as_json:
        show_json(message_json(story))
    else:
        show(story_view(story))


def add_to(group: typer.Typer) -> None:
    """Add the commands."""
    for verb in VERBS:
        add_verb(group, FactKind.SESSION, verb)
    add_list(group, FactKind.SESSION, _OPEN, example="--state open")
    group.command("show", help=_SHOW_HELP)(show_session)
