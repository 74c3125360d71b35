"""`pdp task`: the work that justifies access."""

from __future__ import annotations

import typer

from pdp.cli.governing.lists import add_list
from pdp.cli.governing.verbs import Verb, add_show, add_verb
from pdp.core.model import FactKind
from pdp.governance import commands as c

_ENDED = "every session of it and of its sub-tasks has ended"

VERBS = (
    Verb(
        "open",
        c.OpenTask,
        done="opened",
        summary="Begin a piece of work.",
        example="pdp task open release-7.4\npdp task open release-7.4-db --parent release-7.4",
        says={"owner": "Person or team whose work it is. Without it: you.", "parent": "Task that it is part of."},
    ),
    Verb(
        "complete",
        c.CompleteTask,
        done="completed",
        summary="Complete a task, and so end every session of it and of its sub-tasks.",
        example="pdp task complete release-7.4",
        follows=_ENDED,
    ),
    Verb(
        "cancel",
        c.CancelTask,
        done="cancelled",
        summary="End a task that will not be done, and so every session of it and of its sub-tasks.",
        example='pdp task cancel release-7.4 --reason "postponed"',
        follows=_ENDED,
    ),
)


def add_to(group: typer.Typer) -> None:
    """Add the commands."""
    for verb in VERBS:
        add_verb(group, FactKind.TASK, verb)
    add_list(group, FactKind.TASK, example="--state open")
    add_show(group, FactKind.TASK, "release-7.4")
