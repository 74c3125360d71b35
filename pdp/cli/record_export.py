"""Records for other programs: lines as they stand, a table, or events of OCSF."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec

from pdp.cli.terminal import shown
from pdp.evidence.index.topics import Line, summary_of
from pdp.evidence.ocsf import events_of

COLUMNS = (
    "seq",
    "time",
    "kind",
    "outcome",
    "code",
    "decision_id",
    "identity",
    "owner",
    "session",
    "task",
    "approval",
    "ticket",
    "subject",
    "action",
    "resource",
    "revision",
    "actor",
    "about",
    "method",
    "reason",
)
"""Of the table; a column may be added at the end."""

_FORMULAS = (*"=+-@\t\r", *"\uff1d\uff0b\uff0d\uff20")
"""What spreadsheets carry out, also in full width; a quote before it keeps a cell text. Ids come from whoever asks."""


class _Row(Line, frozen=True):
    """What a row says, beyond under what its record is found."""

    actor: str = ""
    reason: str = ""


_decode_row = msgspec.json.Decoder(_Row).decode


class ExportFormat(StrEnum):
    """How records are written."""

    JSONL = "jsonl"
    CSV = "csv"
    OCSF = "ocsf"


def exported(lines: Iterable[bytes], form: ExportFormat) -> Iterator[str]:
    """Yield the records in a format, line feeds included."""
    return _WRITERS[form](lines)


def _jsonl(lines: Iterable[bytes]) -> Iterator[str]:
    return (f"{line.decode()}\n" for line in lines)


def _csv(lines: Iterable[bytes]) -> Iterator[str]:
    yield _row(COLUMNS)
    for raw in lines:
        yield _row(_cell(text) for text in _cells(_decode_row(raw)))


def _ocsf(lines: Iterable[bytes]) -> Iterator[str]:
    return (shown(json.dumps(event, ensure_ascii=False)) + "\n" for line in lines for event in events_of(line))


_WRITERS: Mapping[ExportFormat, Callable[[Iterable[bytes]], Iterator[str]]] = {
    ExportFormat.JSONL: _jsonl,
    ExportFormat.CSV: _csv,
    ExportFormat.OCSF: _ocsf,
}


def _cells(line: _Row) -> tuple[str, ...]:
    topic, asked = summary_of(line), line.request
    about = (topic.identity, topic.owner, topic.session, topic.task, topic.approval, topic.ticket)
    revision = str(line.revision) if line.revision else ""
    asked_for = (asked.subject, asked.action, asked.resource)
    how = (str(line.seq), line.time, line.kind, line.outcome, topic.code, line.decision_id)
    written = " ".join(f"{change.kind}:{change.id}" for change in line.changes)
    return (*how, *about, *asked_for, revision, line.actor, written or line.about, line.method, line.reason)


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _row(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
