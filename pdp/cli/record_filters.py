"""Which records a command is about, and where it finds them: options that `query` and `export` share."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeAlias

import typer

from pdp.cli.connections import DEFAULT_DATA_DIR, DEFAULT_TIMEOUT_S, Door, administration_of, auditing
from pdp.cli.journal_place import journal_in, past_period
from pdp.cli.options import CONNECTION, Ca, Certificate, DataDir, Key, Timeout, TokenFile
from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from sessionpdp.v1.evidence_pb2 import GetRecordRequest, Record
    from sessionpdp.v1.evidence_pb2_grpc import EvidenceServiceStub

    from pdp.evidence.index.offline import JournalSearch
    from pdp.evidence.index.query import Query

_FILTERS = "which records"
_PAGE = 500


def _text(option: str, help_: str, metavar: str = "ID") -> object:
    return typer.Option(option, help=help_, metavar=metavar, rich_help_panel=_FILTERS, show_default=False)


_Kind: TypeAlias = Literal["decision", "change", "administration", "lapse", "lifecycle"]
_Outcome: TypeAlias = Literal["allow", "deny", "permitted", "not_permitted", "refused"]
Kind: TypeAlias = Annotated[
    _Kind | None, typer.Option("--kind", help="Sort of record.", rich_help_panel=_FILTERS, show_default=False)
]
Outcome: TypeAlias = Annotated[
    _Outcome | None, typer.Option("--outcome", help="How it went.", rich_help_panel=_FILTERS, show_default=False)
]


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for; all of it must be met. Times are as they were written."""

    texts: Mapping[str, str]
    """Fields of `Query` that are text."""
    outcome: str | None
    kind: str | None
    since: str | None
    until: str | None

    def query(self, *, oldest_first: bool) -> Query:
        """Return it as the index takes it; raise CommandError for a time that is none."""
        from pdp.evidence.index.query import Query, RecordKind, RecordOutcome

        since, until = past_period(self.since, self.until)
        return Query(
            **self.texts,
            outcome=None if self.outcome is None else RecordOutcome(self.outcome),
            kind=None if self.kind is None else RecordKind(self.kind),
            since=since,
            until=until,
            oldest_first=oldest_first,
        )


def filters_of(
    *,
    identity: Annotated[str | None, _text("--identity", "About this identity, its family, or this subject.")] = None,
    owner: Annotated[str | None, _text("--owner", "About what this owner answers for.", "NAME")] = None,
    session: Annotated[str | None, _text("--session", "About this session.")] = None,
    task: Annotated[str | None, _text("--task", "About this task.")] = None,
    approval: Annotated[str | None, _text("--approval", "About this approval.")] = None,
    ticket: Annotated[str | None, _text("--ticket", "Under this ticket.", "TEXT")] = None,
    code: Annotated[str | None, _text("--code", "With this reason, rule, lapse or event of its own.", "CODE")] = None,
    outcome: Outcome = None,
    kind: Kind = None,
    since: Annotated[str | None, _text("--since", "From when on: `7d` ago, a date, or a time.", "TIME")] = None,
    until: Annotated[str | None, _text("--until", "Before when: `1h` ago, a date, or a time.", "TIME")] = None,
) -> Filters:
    """Return what is asked for; raise CommandError for an empty text, which would ask for everything."""
    given = {
        "identity": identity,
        "owner": owner,
        "session": session,
        "task": task,
        "approval": approval,
        "ticket": ticket,
        "code": code,
    }
    texts = {name: text for name, text in given.items() if text is not None}
    empty = [f"`--{name}` must not be empty" for name, text in texts.items() if not text]
    if empty:
        raise CommandError(*empty)
    return Filters(texts, outcome, kind, since, until)


@dataclass(frozen=True, slots=True)
class Source:
    """Where records are found: in a data directory, or behind a door."""

    data_dir: Path
    door: Door | None


def source_of(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    admin: Annotated[
        str,
        typer.Option(
            "--admin",
            help="Ask the sidecar behind this administration door instead of reading its data directory.",
            rich_help_panel=CONNECTION,
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = "",
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    ca: Ca = None,
    cert: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
) -> Source:
    """Return where to look."""
    if not admin:
        return Source(data_dir, None)
    door = administration_of(
        admin=admin, data_dir=None, timeout=timeout, ca=ca, cert=cert, key=key, token_file=token_file
    )
    return Source(data_dir, door)


class Records(Protocol):
    """Records as they stand in the journal: lines without line feed."""

    def find(self, query: Query, most: int | None = None) -> Iterator[bytes]:
        """Yield the records asked for, or the first of them."""

    def get(self, name: str) -> bytes | None:
        """Return the record of a decision id or a sequence; None if there is none."""


_VERIFY = "`pdp journal verify` names every broken place"


@contextmanager
def reading(source: Source) -> Iterator[Records]:
    """Open the source; what goes wrong with it, and only that, becomes CommandError."""
    from pdp.evidence.index.offline import searching

    if source.door is not None:
        with auditing(source.door) as stub:
            yield _BehindDoor(stub, source.door)
        return
    with ExitStack() as stack:
        with _read():
            search = stack.enter_context(searching(journal_in(source.data_dir)))
        yield _InDirectory(search)


@contextmanager
def _read() -> Iterator[None]:
    import sqlite3

    from pdp.evidence.trouble import JournalDamagedError

    try:
        yield
    except JournalDamagedError as error:
        raise CommandError(str(error), hint=_VERIFY) from error
    except (OSError, sqlite3.Error) as error:
        message = f"the journal cannot be read: {error}"
        raise CommandError(message) from error


def record_named(source: Source, name: str) -> bytes:
    """Return the record of a decision id or a sequence; raise CommandError if there is none."""
    if not name:
        message = "`ID` must not be empty"
        raise CommandError(message)
    with reading(source) as records:
        line = records.get(name)
    if line is None:
        message = f"record `{name}` is not in the journal"
        raise CommandError(message, hint="`pdp journal query` finds records by what they are about")
    return line


class _InDirectory:
    def __init__(self, search: JournalSearch) -> None:
        self._search = search

    def find(self, query: Query, most: int | None = None) -> Iterator[bytes]:
        # Around the reading alone: what goes wrong with what is done between the records is not the journal's.
        with _read():
            yield from (record.raw for record in self._search.records(query, most))

    def get(self, name: str) -> bytes | None:
        from pdp.evidence.index.query import Query

        number = sequence_in(name)
        if number is None:
            return next(self.find(Query(decision_id=name, oldest_first=True), 1), None)
        with _read():
            found = self._search.record(number)
        return None if found is None else found.raw


class _BehindDoor:
    def __init__(self, stub: EvidenceServiceStub, door: Door) -> None:
        self._stub = stub
        self._timeout_s = door.timeout_s

    def find(self, query: Query, most: int | None = None) -> Iterator[bytes]:
        from sessionpdp.v1.evidence_pb2 import ListRecordsRequest

        from pdp.doors.fields_wire import fill

        request = ListRecordsRequest()
        fill(request, query)
        while most is None or most > 0:
            request.page_size = _PAGE if most is None else min(most, _PAGE)
            page = self._stub.ListRecords(request, timeout=self._timeout_s)
            yield from (self._line(record) for record in page.records)
            most = None if most is None else most - len(page.records)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def get(self, name: str) -> bytes | None:
        from sessionpdp.v1.evidence_pb2 import GetRecordRequest

        number = sequence_in(name)
        request = GetRecordRequest(decision_id=name) if number is None else GetRecordRequest(sequence=number)
        return self._ask(request)

    def _line(self, record: Record) -> bytes:
        """Return the line of one of many, fetched by itself if it is too long for a page."""
        from sessionpdp.v1.evidence_pb2 import GetRecordRequest

        if record.record_omitted:
            return self._ask(GetRecordRequest(sequence=record.sequence))
        return record.record_json.encode()

    def _ask(self, request: GetRecordRequest) -> bytes:
        return self._stub.GetRecord(request, timeout=self._timeout_s).record.record_json.encode()


_DIGITS = 19
"""A sequence has fewer; ids of decisions have 32, which may all be digits."""


def sequence_in(name: str) -> int | None:
    """Return the sequence that a name is; None: it is the id of a decision."""
    return int(name) if name.isascii() and name.isdecimal() and len(name) < _DIGITS else None
