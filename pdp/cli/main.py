"""The command line `pdp`: wiring, and how every command ends."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Annotated

import typer

from pdp.cli import administering, asking, journals, records, replaying, serving, testing
from pdp.cli.governing import (
    administration,
    approvals,
    entitlements,
    identities,
    reviews,
    revocations,
    sessions,
    tasks,
)
from pdp.cli.terminal import say_error, say_hint
from pdp.cli.trouble import EXIT_ERROR, CommandError

_NAMES = {"help_option_names": ["-h", "--help"]}
_GOVERN, _ADMINISTER = "Govern", "Administer"


_NOUNS = {
    "identity": "Say who there is, and who answers for them.",
    "entitlement": "Say what an identity is eligible for, and for how long.",
    "approval": "Ask for consent, and give it.",
    "break-glass": "Act in an emergency, to be reviewed afterwards.",
    "task": "Begin and end the work that justifies access.",
    "session": "Open access just in time, tell its story, end it.",
    "revocation": "List what is revoked, and lift it.",
    "review": "Decide what is to persist, by how it was used.",
    "admin": "Make tokens for those who administer, and tell who one is.",
}
"""The groups of commands that govern."""


def command_line() -> typer.Typer:
    """Return the whole command line."""
    app = _group("A policy decision point for governed sessions: ask it, govern it, test its policies, run it.")
    app.callback()(_options_of_all)
    asking.add_to(app)
    _add_governing(app)
    policy, journal = _group("Check policies before they are in force."), _group("Read the journal of a sidecar.")
    testing.add_to(app, policy)
    journals.add_to(journal)
    records.add_to(journal)
    replaying.add_to(journal)
    serving.add_to(app)
    app.add_typer(policy, name="policy", rich_help_panel="Judge policies")
    app.add_typer(journal, name="journal", rich_help_panel="Run")
    return app


def _add_governing(app: typer.Typer) -> None:
    nouns = {name: _group(help_) for name, help_ in _NOUNS.items()}
    revocations.add_to(app, nouns["revocation"], _GOVERN)
    administering.add_to(app, _ADMINISTER)
    identities.add_to(nouns["identity"])
    entitlements.add_to(nouns["entitlement"])
    approvals.add_to(nouns["approval"], nouns["break-glass"])
    tasks.add_to(nouns["task"])
    sessions.add_to(nouns["session"])
    reviews.add_to(nouns["review"])
    administration.add_to(nouns["admin"])
    for name, group in nouns.items():
        app.add_typer(group, name=name, rich_help_panel=_ADMINISTER if name == "admin" else _GOVERN)


def _say_version(wanted: bool) -> None:
    if wanted:
        serving.version()
        raise typer.Exit


def _options_of_all(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the versions of server, client and protocol.", callback=_say_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options that stand before any command; their callbacks have acted already."""


def _group(help_: str) -> typer.Typer:
    return typer.Typer(
        help=help_,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings=_NAMES,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    command = typer.main.get_command(command_line())
    try:
        _refuse_what_is_no_text(sys.argv[1:] if arguments is None else arguments)
        code = command.main(arguments, prog_name="pdp", standalone_mode=False)
    except CommandError as error:
        code = _ended(error.messages, error.hints)
    except typer.TyperException as error:
        code = _misused(error)
    except SystemExit as ended:
        # Whoever reads has had enough: typer would exit with 1, which means deny.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        code = EXIT_ERROR
    except Exception as error:  # noqa: BLE001  # an uncaught error would exit with 1, which means deny
        traceback.print_exc()
        code = _ended([f"unexpected: {type(error).__name__}: {error}"], ["this is a fault of `pdp` itself"])
    sys.exit(code or 0)


def _refuse_what_is_no_text(arguments: Sequence[str]) -> None:
    """Raise CommandError for an argument whose bytes are not UTF-8: Python hands them on as lone surrogates."""
    for argument in arguments:
        if not argument.isascii() and argument != argument.encode(errors="ignore").decode():
            message = f"argument {argument!a} is not UTF-8"
            raise CommandError(message)


def _ended(messages: Sequence[str], hints: Sequence[str]) -> int:
    """Say what is wrong, each message before its own hint; what helps against several in a row is said once."""
    for hint, several in groupby(zip(messages, hints, strict=True), key=itemgetter(1)):
        for message, _ in several:
            say_error(message)
        if hint:
            say_hint(hint)
    return EXIT_ERROR


def _misused(error: typer.TyperException) -> int:
    """Say what is wrong with the command line, in the same words as any other error."""
    message = " ".join(error.format_message().split()).rstrip(".").replace("'", "`").replace("Value error, ", "")
    if not message:  # no command was named, and the help has been shown
        return EXIT_ERROR
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "pdp"
    return _ended([message[:1].lower() + message[1:]], [f"`{path} --help` explains it"])
