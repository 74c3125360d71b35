"""`list`, for each kind of fact: what there is, a line each, so that an id need not be known by heart."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from inspect import Parameter
from typing import Annotated, Any

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.grouping import declare, with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import Json
from pdp.cli.terminal import show, show_json
from pdp.core.model import ApprovalState, FactKind, IdentityState, SessionState, TaskState

_STATES: Mapping[FactKind, type[StrEnum]] = {
    FactKind.IDENTITY: IdentityState,
    FactKind.APPROVAL: ApprovalState,
    FactKind.TASK: TaskState,
    FactKind.SESSION: SessionState,
}


def add_list(group: typer.Typer, kind: FactKind, *details: str, example: str = "") -> None:
    """Add `list`, which tells all facts of a kind, to its group; of those that have a state, also those in one."""
    summary = f"List every {kind}, a line each, by its id."
    help_ = help_text(summary, *details, examples=[f"pdp {kind} list {example}".rstrip()], exits=DOING_EXITS)

    def list_facts(door: Door, *, state: StrEnum | None = None, as_json: bool) -> None:
        _list(door, kind, state, as_json=as_json)

    declare(list_facts, [Parameter("door", Parameter.KEYWORD_ONLY), *_state_of(kind), _AS_JSON])
    group.command("list", help=help_)(with_options(door=administration_of)(list_facts))


def _state_of(kind: FactKind) -> list[Parameter]:
    """Return the option that names a state, for a kind that has any."""
    if kind not in _STATES:
        return []
    option = typer.Option("--state", help="Only those in this state.", show_default=False)
    states: Any = _STATES[kind]
    wanted: Any = Annotated[states | None, option]
    return [Parameter("state", Parameter.KEYWORD_ONLY, annotation=wanted, default=None)]


_AS_JSON = Parameter("as_json", Parameter.KEYWORD_ONLY, annotation=Json, default=False)


def _list(door: Door, kind: FactKind, state: StrEnum | None, *, as_json: bool) -> None:
    from pdp.cli.change_view import fact_json, plural
    from pdp.cli.fact_list_view import facts_view
    from pdp.cli.facts_read import listed_facts

    with administering(door) as governance:
        facts = [one for one in listed_facts(governance, kind, door) if state in (None, getattr(one, "state", None))]
    if as_json:
        show_json({plural(kind): [fact_json(one) for one in facts]})
    else:
        show(facts_view(kind, facts))
