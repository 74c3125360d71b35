"""What is left of a lapse: its line, its span, its count, and the mark that the next start goes on from."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind
from rich.console import Console

from pdp.cli.journal_view import record_line
from pdp.core.model import FactKind, Instant
from pdp.evidence.journal.journal import Journal
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.record_json import body_of, document_of
from pdp.evidence.record import AnyRecord, Lapse, LapseMark, LapseRecord, LifecycleRecord
from pdp.evidence.telemetry import names
from pdp.evidence.telemetry.due import has_span
from pdp.evidence.telemetry.spans import SpanMaker
from pdp.evidence.telemetry.tally import Tally
from pdp.evidence.trace import TraceContext
from pdp.evidence.usage.folding import LAPSES_FOLLOWED
from pdp.evidence.usage.usage import UseLedger, restore_uses

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "journal-record.json"
NOW = Instant(1_772_355_600_000_000_000)
FOLLOWED = LifecycleRecord(name=LAPSES_FOLLOWED, at=NOW, attributes={"since": "2026-03-01T09:00:00.000000005Z"})
LAPSE = LapseRecord(
    at=Instant(NOW + 7),
    ended_at=NOW,
    what=Lapse.SESSION_IDLE,
    kind=FactKind.SESSION,
    id="s-1",
    identity="job",
    task="t-1",
    approval="a-1",
    traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
    trace=TraceContext("a" * 32, "b" * 16),
)


def lapse(after: int, id_: str = "s-1") -> LapseRecord:
    """Return the record of what ended so many nanoseconds later."""
    return replace(LAPSE, ended_at=Instant(NOW + after), id=id_)


async def write(directory: Path, *records: AnyRecord, segment_bytes: int = 1 << 20) -> LapseMark | None:
    """Write records as a process would that starts and stops; return the mark it went on from."""
    ledger = UseLedger()
    journal = Journal(directory, ledger=ledger, segment_bytes=segment_bytes)
    journal.open()
    for record in records:
        future = journal.append(record, durable=True)
        assert future is not None
        await future
    await journal.close()
    return ledger.restored.lapse


def test_its_line_is_as_the_schema_says() -> None:
    """With whose access it was, and the span that wrote the fact."""
    line, _ = line_of(body_of(LAPSE), 1, GENESIS)
    members = json.loads(line)
    jsonschema.validate(members, json.loads(SCHEMA.read_text()))
    told = ("kind", "time", "ended_at", "what", "about", "identity_id", "task_id", "approval_id", "fact_traceparent")
    assert [members[name] for name in told] == [
        "lapse",
        "2026-03-01T09:00:00.000000007Z",
        "2026-03-01T09:00:00.000000000Z",
        "session_idle",
        "session:s-1",
        "job",
        "t-1",
        "a-1",
        LAPSE.traceparent,
    ]


@pytest.mark.parametrize("what", list(Lapse))
def test_the_schema_knows_everything_that_lapses(what: Lapse) -> None:
    """So that no line of ours is refused by who reads by it."""
    line, _ = line_of(body_of(replace(LAPSE, what=what)), 1, GENESIS)
    jsonschema.validate(json.loads(line), json.loads(SCHEMA.read_text()))


def test_its_span_leads_to_the_one_that_wrote_the_fact() -> None:
    """It is a trace of its own, since nobody called."""
    span = SpanMaker(Resource({"service.name": "pdp"})).span(document_of(LAPSE))
    assert span is not None
    (link,) = span.links
    assert (span.name, span.kind, span.parent) == ("pdp.lapse", SpanKind.INTERNAL, None)
    assert (link.context.trace_id, link.context.span_id) == (int("1" * 32, 16), int("2" * 16, 16))
    assert dict(link.attributes or {}) == {"pdp.link.kind": "session", "pdp.link.id": "s-1"}
    assert dict(span.attributes or {}) == {
        "pdp.lapse.what": "session_idle",
        "pdp.lapse.about": "session:s-1",
        "pdp.lapse.ended_at": "2026-03-01T09:00:00.000000000Z",
        "pdp.identity.id": "job",
        "pdp.task.id": "t-1",
        "pdp.approval.id": "a-1",
    }


def test_the_span_of_a_fact_that_was_not_traced_leads_nowhere() -> None:
    """And is exported all the same."""
    untraced = replace(LAPSE, traceparent="")
    span = SpanMaker(Resource({})).span(document_of(untraced))
    assert span is not None
    assert (has_span(untraced), list(span.links)) == (True, [])


def test_lapses_are_counted_by_what_ended() -> None:
    """Whoever they concern."""
    tally = Tally(NOW)
    tally.count([LAPSE, lapse(1, "s-2"), replace(LAPSE, what=Lapse.REVIEW_OVERDUE)])
    counted = {str((seen.attributes or {})[names.LABEL_WHAT]): seen.value for seen in tally.lapses()}
    assert counted == {"session_idle": 2, "review_overdue": 1}


def test_people_read_what_ended_and_whose_it_was() -> None:
    """With the instant at which it did."""
    line, _ = line_of(body_of(LAPSE), 7, GENESIS)
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(record_line(json.loads(line)))
    assert captured.get().strip() == (
        "7  2026-03-01T09:00:00Z  lapse   session idle  session:s-1  of job  (at 2026-03-01T09:00:00Z)"
    )


def test_an_empty_journal_has_no_mark(tmp_path: Path) -> None:
    """Lapses have never been followed."""
    assert restore_uses(tmp_path).lapse is None


async def test_where_lapses_began_is_the_mark_until_the_first_of_them(tmp_path: Path) -> None:
    """What ended before is not recorded later either."""
    await write(tmp_path, FOLLOWED)
    assert await write(tmp_path, lapse(9)) == LapseMark(Instant(NOW + 5))
    assert await write(tmp_path) == lapse(9).mark


async def test_the_mark_is_the_latest_lapse_over_segments_and_checkpoints(tmp_path: Path) -> None:
    """Those a running process leaves, and those a start makes."""
    await write(tmp_path, FOLLOWED, *(lapse(after) for after in range(10, 20)), segment_bytes=600)
    assert len(segments_of(tmp_path)) > 2
    left = restore_uses(tmp_path)
    for segment in segments_of(tmp_path)[:-1]:
        segment.with_suffix(".uses").unlink()
    made = restore_uses(tmp_path)
    assert left.lapse == made.lapse == restore_uses(tmp_path).lapse == lapse(19).mark


async def test_two_lapses_of_one_instant_have_an_order(tmp_path: Path) -> None:
    """A start may have to go on between them."""
    await write(tmp_path, lapse(1, "s-1"), lapse(1, "s-2"))
    assert restore_uses(tmp_path).lapse == LapseMark(Instant(NOW + 1), "session:s-2", "session_idle")


async def test_decision_time_goes_on_behind_the_latest_lapse(tmp_path: Path) -> None:
    """What has ended on record must not be live again."""
    await write(tmp_path, lapse(11))
    assert (await asyncio.to_thread(restore_uses, tmp_path)).latest == NOW + 11
