"""Commands that read a sidecar's journal, without asking the sidecar."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.connections import DEFAULT_DATA_DIR
from pdp.cli.helping import help_text
from pdp.cli.options import DataDir, Json
from pdp.cli.terminal import show, show_json, show_text
from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdp.evidence.journal_reader import Entry

_LINES = 10


_TAIL_HELP = help_text(
    "Print the youngest records of the journal: decisions, changes, and events of the sidecar.",
    "With `--json` each line is the record as it stands on disk; docs/evidence.md describes its members.",
    examples=["pdp journal tail --follow", "pdp journal tail --json --after 0 | jq .outcome"],
    exits="0 done or interrupted, 2 error",
)


def tail(
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, until interrupted.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", help="How many of the youngest records.", min=0, metavar="N")
    ] = _LINES,
    after: Annotated[
        int | None,
        typer.Option("--after", help="Instead: all records above this sequence.", min=0, metavar="SEQUENCE"),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Print records."""
    from pdp.cli.journal_view import record_line
    from pdp.evidence.trouble import JournalDamagedError

    directory = _journal(data_dir)
    try:
        for entry in _entries(directory, lines=lines, after=after, follow=follow):
            if as_json:
                show_text(entry.raw.decode() + "\n")
            else:
                show(record_line(entry.record()))
    except JournalDamagedError as error:
        raise CommandError(str(error), hint="`pdp journal verify` names every broken place") from error
    except KeyboardInterrupt:
        return


_VERIFY_HELP = help_text(
    "Check that every record of the journal is what was written, in order, with none missing between.",
    "A chain cannot show that its youngest records were cut off: note the last hash elsewhere and compare.",
    examples=["pdp journal verify --data-dir /var/lib/pdp"],
    exits="0 intact, 1 broken, 2 error",
)


def verify(*, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: Json = False) -> None:
    """Check the hash chain."""
    from pdp.cli.journal_view import verification_json, verification_view
    from pdp.evidence.journal_reader import verify as verify_journal

    outcome = verify_journal(_journal(data_dir))
    if as_json:
        show_json(verification_json(outcome))
    else:
        show(verification_view(outcome))
    raise typer.Exit(int(isinstance(outcome, list)))


def _journal(data_dir: Path) -> Path:
    directory = data_dir / "journal"
    if not directory.is_dir():
        message = f"there is no journal in `{data_dir}`"
        raise CommandError(message, hint="`--data-dir` says where the sidecar keeps its data")
    return directory


def _entries(directory: Path, *, lines: int, after: int | None, follow: bool) -> Iterator[Entry]:
    from pdp.evidence.journal_reader import tail as tail_journal

    last = after
    if last is None:
        last = 0
        for entry in _youngest(directory, lines):
            last = entry.sequence
            yield entry
        if not follow:
            return
    yield from tail_journal(directory, follow=follow, after=last)


def _youngest(directory: Path, lines: int) -> Iterator[Entry]:
    """Yield the last records; of a long journal only its last segments are read."""
    from pdp.evidence.journal_reader import read
    from pdp.evidence.segments import first_sequence_of, segments_of

    entries: deque[Entry] = deque(maxlen=lines)
    for segment in reversed(segments_of(directory)):
        entries.clear()
        entries.extend(read(directory, first_sequence_of(segment) - 1))
        if len(entries) == lines:
            break
    yield from entries


def add_to(journal: typer.Typer) -> None:
    """Add the commands."""
    journal.command("tail", help=_TAIL_HELP)(tail)
    journal.command("verify", help=_VERIFY_HELP)(verify)
