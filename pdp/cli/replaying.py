"""Commands that compute recorded decisions again, without asking the sidecar."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.connections import DEFAULT_DATA_DIR
from pdp.cli.helping import help_text
from pdp.cli.journal_place import past_period
from pdp.cli.options import DataDir, Json
from pdp.cli.record_filters import Source, record_named, sequence_in
from pdp.cli.terminal import remark_text, show, show_json
from pdp.cli.trouble import EXIT_ERROR, CommandError

if TYPE_CHECKING:
    from pdp.core.policy.rules import PolicySet
    from pdp.evidence.replay.apart import Sources
    from pdp.evidence.replay.what_if import Period

_REPLAY_HELP = help_text(
    "Compute one recorded decision again: on the facts, uses and policies of its moment.",
    "The answer must be the same; if it is not, both are shown. Reads the data directory, also of a running sidecar.",
    examples=["pdp journal replay 5f3a09c1d2e4b6a79880716253443526", "pdp journal replay 1842 --json | jq .result"],
    exits="0 the same, 1 another answer, 2 error, or it was not computed from facts on record",
)

_WHAT_IF_HELP = help_text(
    "Decide recorded requests again under other policies, and show what would change.",
    "Facts, instants and counted uses are those of the time. Nothing is changed. Where no decision could be decided "
    "again, that is said on standard error.",
    examples=["pdp journal what-if --policies candidate/ --since 7d"],
    exits="0 nothing would change, 1 something would, 2 error",
)


def replay(
    name: Annotated[
        str,
        typer.Argument(help="Id of the decision, or its record's sequence.", metavar="ID", show_default=False),
    ],
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Compute a decision again."""
    from pdp.cli.replay_view import replay_view
    from pdp.evidence.replay.apart import replay_from
    from pdp.evidence.replay.replaying import DecisionUnknownError, Differs, NotComputed
    from pdp.evidence.replay.telling import replay_json

    decision_id = _decision_named(data_dir, name)
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


def _decision_named(data_dir: Path, name: str) -> str:
    """Return the id of a decision that is named by it, or by the sequence of its record."""
    from pdp.evidence.index.topics import decode_line

    if name and sequence_in(name) is None:
        return name
    line = decode_line(record_named(Source(data_dir, None), name))
    if not line.decision_id:
        message = f"record `{name}` is no decision, but of kind `{line.kind}`"
        raise CommandError(message)
    return line.decision_id


def _time(option: str, help_: str) -> object:
    return typer.Option(option, help=help_, metavar="TIME", show_default=False)


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
    since: Annotated[str | None, _time("--since", "From when on: `7d` ago, a date, or a time.")] = None,
    until: Annotated[str | None, _time("--until", "Before when: `1h` ago, a date, or a time.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Decide recorded requests under other policies."""
    from pdp.cli.replay_view import what_if_json, what_if_view
    from pdp.evidence.replay.past import HistoryMissingError
    from pdp.evidence.replay.what_if import what_if as decide_again
    from pdp.state.sqlite_reading import SqliteHistory

    period, candidate, sources = _period(since, until), _candidate(policies), _sources(data_dir)
    with _said(), SqliteHistory(sources.database) as history:
        try:
            found = decide_again(sources.journal, history.commits, candidate, period)
        except HistoryMissingError as error:
            raise CommandError(str(error)) from error
    if as_json:
        show_json(what_if_json(found, candidate.version))
    else:
        show(what_if_view(found, candidate.version))
    if not found.decided:
        remark_text("0 of 0 decisions: none was decided again, so nothing is known of these policies\n")
    raise typer.Exit(int(bool(found.changes)))


def _period(since: str | None, until: str | None) -> Period:
    from pdp.evidence.replay.what_if import Period

    begin, end = past_period(since, until)
    if begin is not None and begin > time.time_ns():
        message = f"`--since`: `{since}` lies in the future, of which nothing is on record"
        raise CommandError(message)
    return Period(begin, end)


def _candidate(directories: list[Path]) -> PolicySet:
    from pdp.state.document import DocumentError
    from pdp.state.policy_files import load, policy_paths

    try:
        candidate = load(directories)
    except DocumentError as error:
        raise CommandError(*map(str, error.problems), hint="`pdp policy check` says the same") from error
    empty = [f"there are no policies in `{directory}`" for directory in directories if not policy_paths([directory])[0]]
    if empty:
        raise CommandError(*empty)
    return candidate


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
