"""Records for other programs: nothing is lost on the way, and every event has what its class requires."""

from __future__ import annotations

import csv
import json
from typing import get_args

import pytest
from msgspec.structs import replace
from sessionpdp.v1 import evidence_pb2 as pb

from pdp.cli import record_filters
from pdp.cli.record_export import COLUMNS, ExportFormat, exported
from pdp.core.model import Drop, FactKind, Instant, Put, Task
from pdp.evidence.index.query import RecordKind, RecordOutcome
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.ocsf import events_of
from pdp.evidence.record import (
    AdministrationOutcome,
    AdministrationRecord,
    AnyRecord,
    ChangeRecord,
    Lapse,
    LapseRecord,
    LifecycleRecord,
)
from pdp.evidence.trace import TraceContext
from tests.unit.test_evidence_usage import NOW, allow, deny

REQUIRED = {"class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "time", "metadata"}
OF_CLASS = {3004: {"entity"}, 6002: {"app"}, 6003: {"actor", "api", "src_endpoint"}}
REFUSED = AdministrationRecord(
    at=NOW, method="Approve", actor="alex", outcome=AdministrationOutcome.REFUSED, rule="FOUR_EYES", message="no"
)
LAPSED = LapseRecord(
    at=NOW,
    ended_at=NOW,
    what=Lapse.SESSION_EXPIRED,
    kind=FactKind.SESSION,
    id="s-1",
    identity="job",
    trace=TraceContext("a" * 32, "b" * 16),
)
CHANGED = ChangeRecord(
    revision=4,
    changes=(Put(Task(id="t-1", owner="o")), Drop(FactKind.TASK, "t-2")),
    actor="alex",
    reason="done",
    at=NOW,
)
ALL: list[AnyRecord] = [allow(1), deny(2), REFUSED, LAPSED, CHANGED, LifecycleRecord(name="started", at=NOW)]


def line(record: AnyRecord) -> bytes:
    """Return a record's line, without line feed."""
    return line_of(body_of(record), 1, GENESIS)[0].removesuffix(b"\n")


@pytest.mark.parametrize("record", ALL, ids=lambda record: type(record).__name__)
def test_an_event_has_what_its_class_requires(record: AnyRecord) -> None:
    """And a type that follows from class and activity."""
    for event in events_of(line(record)):
        assert REQUIRED | OF_CLASS[event["class_uid"]] <= set(event)  # type: ignore[index,operator]  # as they are
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]  # type: ignore[operator]
        assert event["time"] == NOW // 1_000_000


def test_a_decision_is_an_api_activity_with_its_authorization() -> None:
    """Who, under which session, what, and how it was answered."""
    (event,) = events_of(line(allow(1)))
    assert (event["class_uid"], event["activity_name"], event["action_id"], event["disposition_id"]) == (
        6003,
        "rows.read",
        1,
        1,
    )
    assert event["actor"] == {"user": {"uid": "job"}, "session": {"uid": "s-1"}}
    assert event["resources"] == [{"type": "database", "uid": "x"}]
    assert (event["status_code"], event["trace"]) == ("GRANTED", {"uid": "a" * 32, "span": {"uid": "b" * 16}})
    (denied,) = events_of(line(deny(1)))
    assert (denied["action_id"], denied["disposition_id"], denied["status_id"], denied["status_detail"]) == (
        2,
        2,
        2,
        "no news",
    )


def test_what_fits_no_attribute_is_kept_by_its_own_name() -> None:
    """Owner, task and approval above all, and what checks the chain."""
    record = json.loads(line(allow(1)))
    (event,) = events_of(line(allow(1)))
    unmapped = event["unmapped"]
    for name in ("owner", "task_id", "approval_id", "entitlement_id", "revision", "hash", "prev", "reasons"):
        assert unmapped[name] == record[name]  # type: ignore[index,call-overload]


def test_a_change_is_an_event_for_each_fact() -> None:
    """With the reason it was made for."""
    put, drop = events_of(line(CHANGED))
    assert [put["activity_id"], drop["activity_id"]] == [3, 4]
    assert put["entity"] == {"type": "task", "uid": "t-1", "data": {"owner": "o"}}
    assert (put["comment"], put["actor"]) == ("done", {"user": {"name": "alex"}})
    assert [one["metadata"]["uid"] for one in (put, drop)] == ["1-1", "1-2"]  # type: ignore[index,call-overload]


def test_lines_are_exported_as_they_stand() -> None:
    """So that the chain can be checked."""
    lines = [line(record) for record in ALL]
    assert "".join(exported(lines, ExportFormat.JSONL)).encode() == b"".join(one + b"\n" for one in lines)


def test_a_table_has_a_row_for_each_record() -> None:
    """With every id in its column."""
    rows = list(csv.DictReader("".join(exported(map(line, ALL), ExportFormat.CSV)).splitlines()))
    assert ([*rows[0]], len(rows)) == ([*COLUMNS], len(ALL))
    assert [rows[0][name] for name in ("kind", "outcome", "code", "session", "task", "approval", "resource")] == [
        "decision",
        "allow",
        "GRANTED",
        "s-1",
        "t-1",
        "a-1",
        "database:x",
    ]


def test_a_cell_is_never_a_formula() -> None:
    """What callers name themselves must not be carried out by whoever opens the table."""
    asked = allow(1)
    record = replace(asked, decision_id="=1+1", started_at=Instant(NOW))
    rows = list(csv.DictReader("".join(exported([line(record)], ExportFormat.CSV)).splitlines()))
    assert rows[0]["decision_id"] == "'=1+1"


def test_options_and_contract_have_the_words_of_the_index() -> None:
    """The command line names them without loading the index, so they could drift."""
    for words, enum, prefix, option in (
        (RecordKind, pb.RecordKind, "RECORD_KIND_", record_filters._Kind),
        (RecordOutcome, pb.RecordOutcome, "RECORD_OUTCOME_", record_filters._Outcome),
    ):
        named = [name.removeprefix(prefix).lower() for name in enum.keys()[1:]]
        assert [*words] == named == [*get_args(option)]
