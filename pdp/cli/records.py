"""Commands that find records in a journal: in a data directory without asking its sidecar, or over its door."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import OUTPUT, Json
from pdp.cli.output_file import replacing
from pdp.cli.record_filters import Filters, Source, filters_of, reading, record_named, source_of
from pdp.cli.terminal import remark_text, say_hint, show, show_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LIMIT = 100
_Format: TypeAlias = Literal["jsonl", "csv", "ocsf"]

_QUERY_HELP = help_text(
    "Find records: decisions, changes, administrative calls, lapses and events that meet everything asked for.",
    "The newest first. A change is found by the facts it wrote. With `--json` each line is the record as it stands on "
    "disk. Without a running sidecar the index is brought up to date first. Whether there are more than `--limit` is "
    "said on standard error.",
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
    number = 0
    with reading(source) as records:
        for number, line in enumerate(records.find(query, limit + 1), 1):
            if number > limit:
                remark_text(_MORE_LATER.format(limit) if oldest_first else _MORE_EARLIER.format(limit))
            elif as_json:
                show_text(f"{line.decode()}\n")
            else:
                show(record_line(msgspec.json.decode(line)))
    if not number:
        _say_none(filters)


_MORE_EARLIER = "the newest {}; there are more: `--limit`, `--until` or `export` give the rest\n"
_MORE_LATER = "the oldest {}; there are more: `--limit`, `--since` or `export` give the rest\n"


def _say_none(filters: Filters) -> None:
    """Say that nothing was found, which might be for a mistyped code."""
    from pdp.cli.record_codes import hint_for

    remark_text("no record meets that\n")
    code = filters.texts.get("code", "")
    if code and (hint := hint_for(code)):
        say_hint(hint)


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

    line = record_named(source, name)
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
            help="File to make, or to replace once all is written; readable by its owner only. "
            "Without it: standard output.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the records asked for."""
    from pdp.cli.record_export import ExportFormat, exported

    query = filters.query(oldest_first=True)
    with reading(source) as records, nullcontext(sys.stdout) if output is None else replacing(output) as file:
        lines = _Counted(records.find(query))
        try:
            file.writelines(exported(lines, ExportFormat(form)))
        finally:
            file.flush()
    if lines.number:
        remark_text(f"{lines.number} record{'' if lines.number == 1 else 's'} written\n")
    else:
        _say_none(filters)


class _Counted:
    """Lines, and how many there were so far."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.number = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            self.number += 1
            yield line


def add_to(journal: typer.Typer) -> None:
    """Add the commands."""
    journal.command("query", help=_QUERY_HELP)(query_records)
    journal.command("show", help=_SHOW_HELP)(show_record)
    journal.command("export", help=_EXPORT_HELP)(export)
