"""Commands that compute recorded decisions again, without asking the sidecar."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.connections import DEFAULT_DATA_DIR
from pdp.cli.helping import help_text
from pdp.cli.journal_place import past_instant
from pdp.cli.options import DataDir, Json
from pdp.cli.terminal import show, show_json
from pdp.cli.trouble import EXIT_ERROR, CommandError

if TYPE_CHECKING:
    from pdp.core.policy.rules import PolicySet
    from pdp.evidence.replay.apart import Sources

_REPLAY_HELP = help_text(
    "Compute one recorded decision again: on the facts, uses and policies of its moment.",
    "The answer must be the same; if it is not, both are shown. Reads the data directory, also of a running sidecar.",
    examples=["pdp journal replay 0198c7f2-8f1e-7d41-b0c3-2f5a9f6f1e11", "pdp journal replay ID --json | jq .outcome"],
    exits="0 the same, 1 another answer, 2 error, or it was not computed from facts on record",
)

_WHAT_IF_HELP = help_text(
    "Decide recorded requests again under other policies, and show what would change.",
    "Facts, instants and counted uses are those of the time. Nothing is changed.",
    examples=["pdp journal what-if --policies candidate/ --since 7d"],
    exits="0 nothing would change, 1 something would, 2 error",
)


def replay(
    decision_id: Annotated[str, typer.Argument(help="The decision.", metavar="ID", show_default=False)],
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Compute a decision again."""
    from pdp.cli.replay_view import replay_view
    from pdp.evidence.replay.apart import replay_from
    from pdp.evidence.replay.replaying import DecisionUnknownError, Differs, NotComputed
    from pdp.evidence.replay.telling import replay_json

    with _said():
        try:
            replayed = replay_from(_sources(data_dir), decision_id)
        except DecisionUnknownError as error:
            raise CommandError(str(error)) from error
    if as_json:
        show_json(replay_json(replayed))
    else:
        show(replay_view(replayed))
    raise typer.Exit({Differs: 1, NotComputed: EXIT_ERROR}.get(type(replayed), 0))


def what_if(
    policies: Annotated[
        list[Path],
        typer.Option(
            "--policies",
            help="Directory of the candidate policies; may be repeated.",
            metavar="DIR",
            show_default=False,
        ),
    ],
    *,
    since: Annotated[
        str, typer.Option("--since", help="From when on: `7d` ago, or a time.", metavar="TIME", show_default=False)
    ] = "",
    until: Annotated[
        str, typer.Option("--until", help="Before when: `1h` ago, or a time.", metavar="TIME", show_default=False)
    ] = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Decide recorded requests under other policies."""
    from pdp.cli.replay_view import what_if_json, what_if_view
    from pdp.evidence.replay.past import HistoryMissingError
    from pdp.evidence.replay.what_if import Period
    from pdp.evidence.replay.what_if import what_if as decide_again
    from pdp.state.sqlite_reading import SqliteHistory

    period = Period(past_instant("--since", since), past_instant("--until", until))
    candidate, sources = _candidate(policies), _sources(data_dir)
    with _said(), SqliteHistory(sources.database) as history:
        try:
            found = decide_again(sources.journal, history.commits, candidate, period)
        except HistoryMissingError as error:
            raise CommandError(str(error)) from error
    if as_json:
        show_json(what_if_json(found, candidate.version))
    else:
        show(what_if_view(found, candidate.version))
    raise typer.Exit(int(bool(found.changes)))


def _candidate(directories: list[Path]) -> PolicySet:
    from pdp.state.document import DocumentError
    from pdp.state.policy_files import load

    try:
        return load(directories)
    except DocumentError as error:
        raise CommandError(*map(str, error.problems), hint="`pdp policy check` says the same") from error


@contextmanager
def _said() -> Iterator[None]:
    """Say what goes wrong with the change log or the journal."""
    import msgspec

    from pdp.evidence.trouble import JournalDamagedError
    from pdp.state.store import StoreError

    try:
        yield
    except StoreError as error:
        raise CommandError(str(error), hint="`--data-dir` says where the sidecar keeps its data") from error
    except (JournalDamagedError, msgspec.MsgspecError) as error:
        raise CommandError(str(error), hint="`pdp journal verify` names every broken place") from error


def _sources(data_dir: Path) -> Sources:
    """Return what the sidecar keeps in its data directory."""
    from pdp.evidence.replay.apart import Sources
    from pdp.settings import Settings

    settings = Settings(data_dir=str(data_dir))
    return Sources(settings.journal_dir, settings.database, settings.policy_archive)


def add_to(journal: typer.Typer) -> None:
    """Add the commands."""
    journal.command("replay", help=_REPLAY_HELP)(replay)
    journal.command("what-if", help=_WHAT_IF_HELP)(what_if)
