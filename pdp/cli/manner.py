"""How a change is asked for: the options that every command which changes something has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from pdp.cli.options import CHANGE


@dataclass(frozen=True, slots=True)
class Manner:
    """What stands beside every command."""

    reason: str
    idempotency_key: str
    dry_run: bool


_REASON = typer.Option(
    "--reason", help="Why; recorded with the change.", metavar="TEXT", rich_help_panel=CHANGE, show_default=False
)
_DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Have everything judged, write nothing.", rich_help_panel=CHANGE)
]
_Key: TypeAlias = Annotated[
    str,
    typer.Option(
        "--idempotency-key",
        help="Sent again under the same key, the same command is carried out once and answered as at first.",
        metavar="TEXT",
        rich_help_panel=CHANGE,
        show_default=False,
    ),
]


def manner_of(*, reason: Annotated[str, _REASON] = "", dry_run: _DryRun = False, idempotency_key: _Key = "") -> Manner:
    """Return how a change is asked for, for a reason or without one."""
    return Manner(reason, idempotency_key, dry_run)


def reasoned_manner_of(
    *, reason: Annotated[str, _REASON], dry_run: _DryRun = False, idempotency_key: _Key = ""
) -> Manner:
    """Return how a change is asked for that must say why."""
    return Manner(reason, idempotency_key, dry_run)
