"""`pdp admin`: who administers, and by which token."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from typing import Annotated

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import Json
from pdp.cli.terminal import remark_text, show, show_json, show_text
from pdp.cli.trouble import CommandError
from pdp.governance.roles import Role

_TOKEN_HELP = help_text(
    "Make a bearer token for somebody who administers, and the lines that make it known to a sidecar.",
    "The token is printed this once, alone on standard output; the lines for the configuration, which have nothing but "
    "its hash, on standard error. Nothing is sent anywhere.",
    examples=[
        "(umask 077; pdp admin token --name change-manager --role approver > change-manager.token)",
        "pdp admin token --name release-pipeline --role requester --expires-in 90d --json",
    ],
    exits=DOING_EXITS,
)


def token(
    *,
    name: Annotated[str, typer.Option("--name", help="Whose: the name that facts and evidence carry.", metavar="NAME")],
    role: Annotated[
        list[Role] | None,
        typer.Option("--role", help="What it permits; may be given several times.", show_default=False),
    ] = None,
    expires_in: Annotated[
        str,
        typer.Option("--expires-in", help="How long it is good, e.g. `90d`. Without it: for ever.", metavar="DURATION"),
    ] = "",
    as_json: Json = False,
) -> None:
    """Make a token."""
    from pdp.cli.principal_view import token_json, token_text
    from pdp.core.lawful import fault_of_text
    from pdp.governance.tokens import hash_of, new_token

    if fault := fault_of_text(name):
        message = f"`--name` {fault}"
        raise CommandError(message)
    secret, roles, end = new_token(), role or [], _end(expires_in)
    if as_json:
        show_json({"token": secret, **token_json(name, roles, hash_of(secret), end)})
        return
    remark_text(token_text(name, roles, hash_of(secret), end))
    show_text(secret + "\n")


def _end(expires_in: str) -> str:
    """Return when a token ends, in RFC 3339; nothing if never."""
    from pdp.cli.governing.fields import instant_of
    from pdp.core.model import Instant
    from pdp.core.wording import SECOND, instant_text

    if not expires_in:
        return ""
    try:
        instant = instant_of("+" + expires_in)
    except ValueError as error:
        message = f"`--expires-in`: {error}"
        raise CommandError(message) from None
    return instant_text(Instant(instant - instant % SECOND))


_WHOAMI_HELP = help_text(
    "Tell who you are to the sidecar, and what your roles permit.",
    examples=["pdp admin whoami --token-file change-manager.token"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def whoami(door: Door, *, as_json: Json = False) -> None:
    """Tell who one is."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.message_json import message_json
    from pdp.cli.principal_view import principal_view

    with administering(door) as governance:
        principal = governance.GetPrincipal(governance_pb2.GetPrincipalRequest(), timeout=door.timeout_s)
    if as_json:
        show_json(message_json(principal))
    else:
        show(principal_view(principal))


def add_to(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("token", help=_TOKEN_HELP)(token)
    group.command("whoami", help=_WHOAMI_HELP)(whoami)
