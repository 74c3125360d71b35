"""Commands that find records in a journal: in a data directory without asking its sidecar, or over its door."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO, TypeAlias

import typer

from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import OUTPUT, Json
from pdp.cli.record_filters import Filters, Source, filters_of, reading, source_of
from pdp.cli.terminal import show, show_text
from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMIT = 100
_Format: TypeAlias = Literal["jsonl", "csv", "ocsf"]

_QUERY_HELP = help_text(
    "Find records: decisions, changes, administrative calls, lapses and events that meet everything asked for.",
    "The newest first. A change is found by the facts it wrote. With `--json` each line is the record as it stands on "
    "disk. Without a running sidecar the index is brought up to date first.",
    examples=[
        "pdp journal query --session session-1842 --outcome deny",
        "pdp journal query --owner team-payments --code TASK_ENDED --since 7d --json",
    ],
    exits=DOING_EXITS,
)
_SHOW_HELP = help_text(
    "Tell one record: who, for what, under which session, task and approval, by which policies, with every id.",
    examples=["pdp journal show 5f3a09c1d2e4b6a79880716253443526", "pdp journal show 1842 --json"],
    exits=DOING_EXITS,
)
_EXPORT_HELP = help_text(
    "Write records for other programs, the oldest first.",
    "`jsonl` are the records as they stand, whose chain can be checked; `csv` a table of their ids; `ocsf` events of "
    "the Open Cybersecurity Schema Framework. docs/evidence.md describes all three.",
    examples=["pdp journal export --since 24h --format ocsf --output events.jsonl"],
    exits=DOING_EXITS,
)


@with_options(filters=filters_of, source=source_of)
def query_records(
    filters: Filters,
    source: Source,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.", min=1, metavar="N")] = _LIMIT,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="In the order they were recorded.")] = False,
    as_json: Json = False,
) -> None:
    """Print the records asked for."""
    import msgspec

    from pdp.cli.journal_view import record_line

    query = filters.query(oldest_first=oldest_first)
    with reading(source) as records:
        for line in records.find(query, limit):
            if as_json:
                show_text(f"{line.decode()}\n")
            else:
                show(record_line(msgspec.json.decode(line)))


@with_options(source=source_of)
def show_record(
    source: Source,
    name: Annotated[str, typer.Argument(help="Id of the decision, or the record's sequence.", metavar="ID")],
    *,
    as_json: Json = False,
) -> None:
    """Print one record."""
    import msgspec

    from pdp.cli.record_view import record_view

    with reading(source) as records:
        line = records.get(name)
    if line is None:
        message = f"record `{name}` is not in the journal"
        raise CommandError(message, hint="`pdp journal query` finds records by what they are about")
    if as_json:
        show_text(f"{line.decode()}\n")
    else:
        show(record_view(msgspec.json.decode(line)))


@with_options(filters=filters_of, source=source_of)
def export(
    filters: Filters,
    source: Source,
    *,
    form: Annotated[_Format, typer.Option("--format", help="How they are written.", rich_help_panel=OUTPUT)] = "jsonl",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, readable by its owner only. Without it: standard output.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the records asked for."""
    from pdp.cli.record_export import ExportFormat, exported

    query = filters.query(oldest_first=True)
    with reading(source) as records:
        texts = exported(records.find(query), ExportFormat(form))
        if output is None:
            _write(sys.stdout, texts)
            return
        try:
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"cannot write `{output}`: {(error.strerror or str(error)).lower()}"
            raise CommandError(message) from error
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            _write(file, texts)


def _write(file: TextIO, texts: Iterable[str]) -> None:
    file.writelines(texts)
    file.flush()


def add_to(journal: typer.Typer) -> None:
    """Add the commands."""
    journal.command("query", help=_QUERY_HELP)(query_records)
    journal.command("show", help=_SHOW_HELP)(show_record)
    journal.command("export", help=_EXPORT_HELP)(export)
