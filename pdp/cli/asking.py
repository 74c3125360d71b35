"""Commands that ask for decisions."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pdp.cli.connections import Door, asking, decisions_of
from pdp.cli.grouping import with_options
from pdp.cli.helping import ASKING_EXITS, help_text
from pdp.cli.options import OUTPUT, Json
from pdp.cli.questions import Question, merged, what_of, whose_of
from pdp.cli.request_file import Given
from pdp.cli.terminal import show, show_json
from pdp.cli.trouble import EXIT_ERROR

if TYPE_CHECKING:
    from sessionpdp import Decision

_EXAMPLE = """\
--subject spiffe://shop.example/deployer --action deploy.start \\
  --resource cluster:prod/shop/checkout --session session-release-7.4"""


_CHECK_HELP = help_text(
    "Ask whether a subject may do something, now, and why.",
    "An allow of a use-limited session or approval counts as one use. The same request can be read as JSON.",
    examples=[f"pdp check {_EXAMPLE}", "pdp check request.json --context change_freeze=false"],
    exits=ASKING_EXITS,
)


@with_options(whose=whose_of, what=what_of, door=decisions_of)
def check(whose: Given, what: Given, door: Door, *, as_json: Json = False) -> None:
    """Ask for one decision."""
    from pdp.cli.decision_view import decision_json, decision_view

    fields = Question(merged(what, whose)).check()
    with _answered(door), asking(door) as pdp:
        decision = pdp.check(**fields)
    _decided(decision, door)
    if as_json:
        show_json(decision_json(decision))
    else:
        show(decision_view(decision))
    raise typer.Exit(_exit_code(decision))


_EXPLAIN_HELP = help_text(
    "Ask the same, and see every rule that was applied and what would change its verdict.",
    "Counts no use.",
    examples=[f"pdp explain {_EXAMPLE}"],
    exits=ASKING_EXITS,
)


@with_options(whose=whose_of, what=what_of, door=decisions_of)
def explain(
    whose: Given,
    what: Given,
    door: Door,
    *,
    every_row: Annotated[
        bool, typer.Option("--all", help="Show every row of the decision table.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask for one decision with the table behind it."""
    from pdp.cli.explanation_view import explanation_json, explanation_view

    fields = Question(merged(what, whose)).check()
    with _answered(door), asking(door) as pdp:
        explanation = pdp.explain(**fields)
    _decided(explanation.decision, door)
    if as_json:
        show_json(explanation_json(explanation))
    else:
        show(explanation_view(explanation, every_row=every_row))
    raise typer.Exit(_exit_code(explanation.decision))


_PERMISSIONS_HELP = help_text(
    "List what a session may do now, and what policies still ask of each request. Counts no use.",
    examples=["pdp permissions --subject spiffe://shop.example/deployer --session session-release-7.4"],
    exits="0 something is permitted, 1 nothing is, 2 error",
)


@with_options(whose=whose_of, door=decisions_of)
def permissions(whose: Given, door: Door, *, as_json: Json = False) -> None:
    """Ask what a session may do."""
    from pdp.cli.decision_view import permissions_json, permissions_view

    fields = Question(whose).permissions()
    with _answered(door), asking(door) as pdp:
        found = pdp.permissions(**fields)
    if not found.decided:
        _undecided(found.reasons[0].code, found.reasons[0].message, door)
    if as_json:
        show_json(permissions_json(found))
    else:
        show(permissions_view(found))
    raise typer.Exit(0 if found.permissions else 1)


_WATCH_HELP = help_text(
    "Print the decision now, and again whenever it changes, also by mere passing of time.",
    "Goes on until interrupted, over restarts of the sidecar too. Counts no use.",
    examples=[f"pdp watch {_EXAMPLE}"],
    exits="that of the last line: 0 allow, 1 deny, 2 no decision could be had",
)


@with_options(whose=whose_of, what=what_of, door=decisions_of)
def watch(
    whose: Given,
    what: Given,
    door: Door,
    *,
    count: Annotated[
        int,
        typer.Option(
            "--count", "-n", help="Stop after this many lines; 0: never.", rich_help_panel=OUTPUT, min=0, metavar="N"
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Print the decision now and whenever it changes."""
    from pdp.cli.decision_view import decision_json, watch_line

    fields = Question(merged(what, whose)).check()
    code = EXIT_ERROR
    with _until_interrupted(), _answered(door), asking(door) as pdp:
        for number, decision in enumerate(pdp.watch(**fields), 1):
            if number == 1:
                _decided(decision, door)
            if as_json:
                show_json(decision_json(decision))
            else:
                show(watch_line(decision, datetime.now(UTC)))
            code = _exit_code(decision)
            if number == count:
                break
    raise typer.Exit(code)


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """Go on behind the block when the person, or a supervisor, has had enough."""
    # Both, for who is started in the background inherits an interrupt that is ignored.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _answered(door: Door) -> Iterator[None]:
    """Name the fields of a question that cannot be asked."""
    from sessionpdp import InvalidCheck

    try:
        yield
    except InvalidCheck as error:
        from pdp.cli.refusals import invalid_request

        raise invalid_request(error, door) from error


def _decided(decision: Decision, door: Door) -> None:
    if not decision.decided:
        _undecided(decision.reasons[0].code, decision.reasons[0].message, door)


def _undecided(code: str, message: str, door: Door) -> NoReturn:
    from pdp.cli.refusals import no_decision

    raise no_decision(code, message, door)


def _exit_code(decision: Decision) -> int:
    if not decision.decided:
        return EXIT_ERROR
    return 0 if decision.allowed else 1


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Ask"
    app.command("check", help=_CHECK_HELP, rich_help_panel=panel)(check)
    app.command("explain", help=_EXPLAIN_HELP, rich_help_panel=panel)(explain)
    app.command("permissions", help=_PERMISSIONS_HELP, rich_help_panel=panel)(permissions)
    app.command("watch", help=_WATCH_HELP, rich_help_panel=panel)(watch)
