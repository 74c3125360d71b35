"""Fields of commands as arguments and options, and back: one table for all commands.

A field's type says how it is written, its default whether it may be left out; the table has the words.
"""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import typer
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from pdp.cli.pairs import pairs_of, typed
from pdp.cli.trouble import CommandError
from pdp.core.model import Attribute, Duration, Instant
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.governance.commands import Constraints

_T = TypeVar("_T", bound=Struct)


class _Option(NamedTuple):
    """What a field is called on the command line."""

    name: str
    metavar: str
    help: str


class _Form(NamedTuple):
    """How values of a type are written."""

    annotation: Any
    """What typer reads."""
    read: Callable[[str, Any], object]
    """Takes the option's name and what typer has read; raises ValueError for what makes no sense."""


_SEVERAL = "may be given several times"
_TIME = "in RFC 3339 or as `+10m`"
OPTIONS: Mapping[str, _Option] = {
    "id": _Option("--id", "ID", "Its id. Without it: one is made."),
    "identity_id": _Option("--identity", "ID", "Id of the identity, or the pattern of a family."),
    "entitlement_id": _Option("--entitlement", "ID", "Id of the entitlement."),
    "approval_id": _Option("--approval", "ID", "Id of the approval."),
    "task_id": _Option("--task", "ID", "Id of the task."),
    "session_id": _Option("--session", "ID", "Id of the session."),
    "revocation_id": _Option("--revocation", "ID", "Id of the revocation, as `pdp revocation list` tells."),
    "review_id": _Option("--review", "KIND:ID", "What is reviewed, as `pdp review list` tells."),
    "kind": _Option("--kind", "KIND", "What sort of subject it is."),
    "owner": _Option("--owner", "NAME", "Person or team that answers for it."),
    "labels": _Option("--label", "KEY=VALUE", f"Label; {_SEVERAL}."),
    "credential_max_age": _Option("--credential-max-age", "DURATION", "How old a credential may be, e.g. `1h`."),
    "credentials": _Option("--credential", "ID", f"Credential to be revoked with it; {_SEVERAL}."),
    "identity": _Option("--identity", "ID", "Identity that is to act."),
    "actions": _Option("--action", "PATTERN", f"Action, e.g. `rows.*`; {_SEVERAL}."),
    "resources": _Option("--resource", "PATTERN", f"Resource, e.g. `database:prod/**`; {_SEVERAL}."),
    "max_session_ttl": _Option("--max-session-ttl", "DURATION", "Longest session, e.g. `1h30m`."),
    "until": _Option("--until", "TIME", f"Until when it is certified, {_TIME} (`+90d`)."),
    "ticket": _Option("--ticket", "TEXT", "Ticket it is for; policies may ask for one."),
    "justification": _Option("--justification", "TEXT", "What for, for whom is to consent."),
    "not_before": _Option("--not-before", "TIME", f"From when on, {_TIME}. Without it: now."),
    "ttl": _Option(
        "--ttl", "DURATION", "How long from then on, e.g. `30m`. Without it: as long as may be, at most an hour."
    ),
    "max_uses": _Option("--max-uses", "N", "How often it may be used."),
    "idle_timeout": _Option("--idle-timeout", "DURATION", "Ends when not used for so long."),
    "constraints": _Option("--constraint", "NAME=VALUE", f"Value an attribute of the context may have; {_SEVERAL}."),
    "entitlement": _Option("--entitlement", "ID", "Entitlement it rests on."),
    "approval": _Option("--approval", "ID", "Approval it rests on; policies may ask for one."),
    "task": _Option("--task", "ID", "Task that justifies it."),
    "parent": _Option("--parent", "ID", "What it is part of."),
    "incident": _Option("--incident", "TEXT", "The emergency, e.g. `INC-7`."),
    "target": _Option("--target", "KIND", "What is revoked."),
    "target_id": _Option("--target-id", "ID", "Its id; for an identity also a pattern."),
    "effective_at": _Option("--effective-at", "TIME", f"From when on, {_TIME}. Without it: now."),
    "expires_at": _Option(
        "--expires-at", "TIME", f"When the target would have ended anyway, {_TIME}. Without it: never."
    ),
    "source": _Option("--source", "TEXT", "Where this comes from, e.g. an incident."),
    "choice": _Option("--choice", "CHOICE", "What becomes of it."),
    "revision": _Option("--revision", "REVISION", "Decide only if it is still as it was at this revision."),
}


def parameters_of(command: type[Struct], arguments: Sequence[str], says: Mapping[str, str]) -> Iterator[Parameter]:
    """Yield the fields of a command as typer reads them; `says` has other help than the table for some."""
    for info in fields(command):
        option = OPTIONS[info.name]
        help_ = says.get(info.name, option.help)
        annotation: Any = _form_of(info).annotation
        if info.name in arguments:
            how = typer.Argument(help=help_, metavar=option.metavar, show_default=False)
        else:
            metavar = option.metavar if annotation in _WRITTEN else None
            how = typer.Option(option.name, help=help_, metavar=metavar, show_default=False)
        required = _is_required(info)
        type_: Any = annotation if required else annotation | None
        wanted: Any = Annotated[type_, how]
        yield Parameter(
            info.name, Parameter.KEYWORD_ONLY, annotation=wanted, default=Parameter.empty if required else None
        )


def command_of(command: type[_T], given: Mapping[str, Any]) -> _T:
    """Return the command that options say; raise CommandError with everything that cannot be read."""
    values: dict[str, object] = {}
    problems: list[str] = []
    for info in fields(command):
        value = given.get(info.name)
        if value is None or value == []:
            continue
        name = OPTIONS[info.name].name
        try:
            values[info.name] = _form_of(info).read(name, value)
        except ValueError as error:
            problems.append(f"`{name}`: {error}")
    if problems:
        raise CommandError(*problems)
    return command(**values)


def instant_of(text: str) -> Instant:
    """Return the instant of an RFC 3339 time, or of `+10m` from now on; raise ValueError for any other text."""
    import time

    from pdp.state.fields import parse_duration, parse_instant

    return Instant(time.time_ns() + parse_duration(text[1:])) if text.startswith("+") else parse_instant(text)


def _duration(_: str, text: str) -> Duration:
    from pdp.state.fields import parse_duration

    return parse_duration(text)


def _labels(option: str, words: Sequence[str]) -> dict[str, str]:
    labels = dict(pairs_of(option, words))
    if len(labels) < len(words):
        message = "a key is given twice"
        raise ValueError(message)
    return labels


def _constraints(option: str, words: Sequence[str]) -> Constraints:
    constraints: dict[str, list[Any]] = {}
    for name, text in pairs_of(option, words):
        constraints.setdefault(name, []).append(typed(text))
    return constraints


_FORMS: Mapping[object, _Form] = {
    Instant: _Form(str, lambda _, text: instant_of(text)),
    Duration: _Form(str, _duration),
    ActionScope: _Form(list[str], lambda _, patterns: ActionScope(patterns)),
    ResourceScope: _Form(list[str], lambda _, patterns: ResourceScope(patterns)),
    IdentityScope: _Form(str, lambda _, pattern: IdentityScope([pattern])),
    tuple[str, ...]: _Form(list[str], lambda _, words: tuple(words)),
    dict[str, str]: _Form(list[str], _labels),
    dict[str, list[Attribute]]: _Form(list[str], _constraints),
}
_WRITTEN = (str, list[str], int)
"""What is written as the table says; of words there are the few that typer names."""


def _form_of(info: FieldInfo) -> _Form:
    type_ = info.type
    if get_origin(type_) in (Union, types.UnionType):
        type_ = next(one for one in get_args(type_) if one is not types.NoneType)
    return _FORMS.get(type_, _Form(type_, lambda _, value: value))


def _is_required(info: FieldInfo) -> bool:
    return info.default is NODEFAULT and info.default_factory is NODEFAULT
