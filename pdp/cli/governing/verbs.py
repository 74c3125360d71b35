"""A verb of the command line: a command of governance, its words, and how it is carried out and told."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.governing.fields import command_of, parameters_of
from pdp.cli.grouping import declare, with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.manner import Manner, manner_of, reasoned_manner_of
from pdp.cli.options import Json
from pdp.cli.terminal import show, show_json
from pdp.core.model import FactKind

if TYPE_CHECKING:
    from sessionpdp.v1.governance_pb2_grpc import GovernanceServiceStub

    from pdp.cli.change_view import Changed
    from pdp.governance.commands import Command


class Verb(NamedTuple):
    """One command."""

    name: str
    command: type[Command]
    done: str
    """Its participle, for what was done: `opened`."""
    summary: str
    example: str
    """One or several, a line each."""
    did: str = ""
    """Its past, where that is not the participle: `took`."""
    details: str = ""
    follows: str = ""
    """What follows from it, where the facts do not say it."""
    arguments: Sequence[str] = ()
    """Fields that are written without an option; by default the first."""
    says: Mapping[str, str] = {}
    """Help for fields of which the table of all fields says too little."""
    needs_reason: bool = False

    @property
    def first(self) -> str:
        """The field that names what the command is about; may be left out where it is made."""
        return self.command.__struct_fields__[0]


Run = Callable[..., None]


def add_verb(group: typer.Typer, noun: str, verb: Verb, run: Run | None = None, panel: str | None = None) -> None:
    """Add a verb to a noun's group; `run` carries it out in another way, given door, manner, json and the command."""
    details = [verb.details] if verb.details else []
    help_ = help_text(verb.summary, *details, examples=[verb.example], exits=DOING_EXITS)
    group.command(verb.name, help=help_, rich_help_panel=panel)(_function(verb, run or _telling(noun, verb)))


def carry_out(governance: GovernanceServiceStub, command: Command, manner: Manner, door: Door) -> Changed:
    """Have the sidecar carry out a command; return what has changed, or would."""
    from pdp.cli.change_view import Changed
    from pdp.cli.facts_read import fact_of_message
    from pdp.doors.command_wire import message_of_command

    request = message_of_command(
        command, reason=manner.reason, idempotency_key=manner.idempotency_key, dry_run=manner.dry_run
    )
    answer = getattr(governance, type(command).__name__)(request, timeout=door.timeout_s)
    facts = [fact_of_message(message) for message in answer.facts]
    return Changed(answer.revision, facts, already_done=answer.already_done, dry_run=manner.dry_run)


def _telling(noun: str, verb: Verb) -> Run:
    """Return how most verbs go: carried out, then told."""

    def run(door: Door, manner: Manner, command: Command, *, as_json: bool) -> None:
        from pdp.cli.change_view import changed_json, changed_view

        with administering(door) as governance:
            changed = carry_out(governance, command, manner, door)
        id_ = getattr(command, verb.first) or changed.facts[0].id
        if as_json:
            show_json({f"{noun.replace('-', '_')}_id": id_, **changed_json(changed)})
        else:
            show(changed_view(verb.done, f"{noun} `{id_}`", changed, verb.follows, did=verb.did))

    return run


def _function(verb: Verb, run: Run) -> Callable[..., None]:
    """Return a function with the parameters that the verb's options are made from."""

    def function(door: Door, manner: Manner, *, as_json: bool, **given: object) -> None:
        run(door, manner, command_of(verb.command, given), as_json=as_json)

    own = parameters_of(verb.command, verb.arguments or (verb.first,), verb.says)
    declare(function, [*_BETWEEN, *own, _AS_JSON])
    return with_options(manner=reasoned_manner_of if verb.needs_reason else manner_of, door=administration_of)(function)


_BETWEEN = [Parameter(name, Parameter.KEYWORD_ONLY) for name in ("door", "manner")]
_AS_JSON = Parameter("as_json", Parameter.KEYWORD_ONLY, annotation=Json, default=False)


def add_show(group: typer.Typer, kind: FactKind, example: str) -> None:
    """Add `show`, which tells one fact, to the group of its kind."""
    help_ = help_text(f"Tell what is known of one {kind}.", examples=[f"pdp {kind} show {example}"], exits=DOING_EXITS)

    @with_options(door=administration_of)
    def show_fact(
        door: Door, *, id_: Annotated[str, typer.Argument(help="Its id.", metavar="ID")], as_json: Json = False
    ) -> None:
        from pdp.cli.change_view import fact_json
        from pdp.cli.fact_view import fact_view
        from pdp.cli.facts_read import read_fact

        with administering(door) as governance:
            fact = read_fact(governance, kind, id_, door)
        if as_json:
            show_json(fact_json(fact))
        else:
            show(fact_view(fact))

    group.command("show", help=help_)(show_fact)
