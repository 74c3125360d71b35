"""What is on record can be asked for over gRPC, by those whose role permits it."""

from __future__ import annotations

import hashlib
import json

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sessionpdp.v1 import decision_pb2
from sessionpdp.v1 import evidence_pb2 as pb

from pdp.core.model import Identity, IdentityKind
from pdp.evidence.index.index_file import FILE
from tests.integration.conftest import Serve
from tests.integration.serving import (
    PATIENCE_S,
    Channels,
    Refused,
    Running,
    as_principal,
    check,
    large,
    refusal,
    until,
)

AUDITOR = as_principal("auditor")


async def listed(channels: Channels, **asked: object) -> pb.ListRecordsResponse:
    """Return a page of records."""
    return await channels.evidence.ListRecords(pb.ListRecordsRequest(**asked), timeout=PATIENCE_S, metadata=AUDITOR)  # type: ignore[arg-type]


async def refused_list(channels: Channels, principal: str = "auditor", **asked: object) -> Refused:
    """Return the error that such a question ends with."""
    request = pb.ListRecordsRequest(**asked)  # type: ignore[arg-type]
    return await refusal(
        channels.evidence.ListRecords(request, timeout=PATIENCE_S, metadata=as_principal(principal)),
    )


async def on_disk(server: Running) -> None:
    """Wait until nothing is on its way."""
    await until(lambda: server.sidecar.evidence.status().held == 0)


async def asked_thrice(server: Running) -> None:
    """Ask for three decisions, two allows and a deny, and wait until they are on disk."""
    await server.check()
    await server.check()
    await server.check(check(session_id="s-9"))
    await on_disk(server)


async def test_records_are_found_by_what_they_are_about(server: Running) -> None:
    """Every condition must be met; the newest comes first."""
    await asked_thrice(server)
    allows = await listed(server, session="s-1", owner="team-a", ticket="CHG-1", outcome=pb.RECORD_OUTCOME_ALLOW)
    assert [record.code for record in allows.records] == ["GRANTED", "GRANTED"]
    assert allows.records[0].sequence > allows.records[1].sequence
    denied = await listed(server, identity="worker", code="SESSION_UNKNOWN")
    assert [record.session_id for record in denied.records] == ["s-9"]
    assert not (await listed(server, session="s-9", outcome=pb.RECORD_OUTCOME_ALLOW)).records


async def test_a_change_is_found_by_the_facts_it_wrote(server: Running) -> None:
    """Together with what else is about them."""
    await server.revoke("session", "s-1")
    found = await listed(server, session="s-1", kind=pb.RECORD_KIND_CHANGE, oldest_first=True)
    methods = [json.loads(record.record_json)["method"] for record in found.records]
    assert methods == ["ApplyFacts", "Revoke"]


async def test_pages_go_on_where_the_one_before_ended(server: Running) -> None:
    """Also when more is recorded meanwhile."""
    await asked_thrice(server)
    first = await listed(server, kind=pb.RECORD_KIND_DECISION, page_size=2)
    await server.check()
    second = await listed(server, kind=pb.RECORD_KIND_DECISION, page_size=2, page_token=first.next_page_token)
    assert (len(first.records), len(second.records), second.next_page_token) == (2, 1, "")
    assert first.records[1].sequence > second.records[0].sequence


async def test_a_page_token_that_is_none_is_refused(server: Running) -> None:
    """By field."""
    error = await refused_list(server, page_token="elsewhere")  # noqa: S106  # no password
    assert (error.code, error.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        {"page_token": "not a page token"},
    )


async def test_a_record_is_told_by_its_decision_or_its_sequence(server: Running) -> None:
    """With the line, whose hash whoever gets it can check."""
    decision = (await server.decisions.Check(check(), timeout=PATIENCE_S)).decision
    await on_disk(server)
    get = server.evidence.GetRecord
    by_id = await get(pb.GetRecordRequest(decision_id=decision.decision_id), timeout=PATIENCE_S, metadata=AUDITOR)
    by_number = await get(pb.GetRecordRequest(sequence=by_id.record.sequence), timeout=PATIENCE_S, metadata=AUDITOR)
    assert by_id == by_number
    line = by_id.record.record_json.encode()
    body = line[: -len(',"hash":""}') - 64] + b"}"
    assert hashlib.sha256(body).hexdigest() == json.loads(line)["hash"]
    assert by_id.record.time.ToDatetime().year > 2000


@pytest.mark.parametrize(
    "request_",
    [
        pb.GetRecordRequest(sequence=10**6),
        pb.GetRecordRequest(sequence=2**63),
        pb.GetRecordRequest(sequence=2**64 - 1),
        pb.GetRecordRequest(decision_id="none"),
    ],
)
async def test_what_is_not_on_record_is_not_found(server: Running, request_: pb.GetRecordRequest) -> None:
    """Whichever way it is named."""
    error = await refusal(server.evidence.GetRecord(request_, timeout=PATIENCE_S, metadata=AUDITOR))
    assert error.code is grpc.StatusCode.NOT_FOUND


async def test_a_record_must_be_named(server: Running) -> None:
    """Neither way is a fault."""
    error = await refusal(server.evidence.GetRecord(pb.GetRecordRequest(), timeout=PATIENCE_S, metadata=AUDITOR))
    assert error.fields == {"record": "is required"}


@pytest.mark.parametrize("principal", ["release-manager", "change-manager", "inventory", "newcomer"])
async def test_records_are_not_for_every_role(server: Running, principal: str) -> None:
    """They say of everybody what they did."""
    error = await refused_list(server, principal)
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")


async def test_who_asks_for_records_is_on_record(server: Running) -> None:
    """As every administrative call."""
    await listed(server)
    await on_disk(server)
    found = await listed(server, kind=pb.RECORD_KIND_ADMINISTRATION, outcome=pb.RECORD_OUTCOME_PERMITTED)
    assert [json.loads(record.record_json)["method"] for record in found.records] == ["ListRecords"]


async def test_a_journal_is_verified_over_the_door(server: Running) -> None:
    """And an altered one is not."""
    await asked_thrice(server)
    verify = server.evidence.VerifyJournal
    good = await verify(pb.VerifyJournalRequest(), timeout=PATIENCE_S, metadata=AUDITOR)
    assert (good.intact, good.records >= 3, len(good.last_hash)) == (True, True, 64)
    segment = next(server.sidecar.settings.journal_dir.glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"worker"', b'"warker"', 1))
    bad = await verify(pb.VerifyJournalRequest(), timeout=PATIENCE_S, metadata=AUDITOR)
    assert (bad.intact, bad.broken[0].segment) == (False, segment.name)


async def test_a_journal_without_its_seals_and_keys_is_not_intact(server: Running) -> None:
    """The sidecar knows which key it signs with."""
    await asked_thrice(server)
    directory = server.sidecar.settings.journal_dir
    for path in (*directory.glob("*.seal"), *directory.glob("signing.*")):
        path.unlink()
    verify = server.evidence.VerifyJournal
    found = await verify(pb.VerifyJournalRequest(), timeout=PATIENCE_S, metadata=AUDITOR)
    assert (found.intact, [place.segment for place in found.broken]) == (False, ["signing.pub"])
    assert server.sidecar.evidence.signing_key in found.broken[0].what


async def test_a_lost_index_is_made_anew(serve: Serve) -> None:
    """It is derived."""
    server = await serve()
    await asked_thrice(server)
    file = server.sidecar.settings.journal_dir / FILE
    await listed(server)
    file.unlink()
    found = await listed(server, kind=pb.RECORD_KIND_DECISION)
    assert len(found.records) == 3
    await until(file.exists)


async def test_identities_of_a_family_are_found_by_subject_and_by_pattern(server: Running) -> None:
    """The record of a decision names the family, its request the subject."""
    await server.apply(Identity(id="ci/**", kind=IdentityKind.CI_JOB, owner="team-a"))
    await server.check(check(subject=decision_pb2.Subject(id="ci/7"), session_id="s-9"))
    await on_disk(server)
    by_subject, by_family = await listed(server, identity="ci/7"), await listed(server, identity="ci/**")
    assert [one.sequence for one in by_subject.records] == [
        one.sequence for one in by_family.records if one.kind == pb.RECORD_KIND_DECISION
    ]
    assert len(by_subject.records) == 1


async def test_a_record_that_no_page_holds_is_told_without_its_line(server: Running) -> None:
    """So that all others are told, and this one can be asked for by itself."""
    await server.apply(*large())
    await server.revoke("session", "s-1")
    found, token = list[pb.Record](), ""
    while not found or token:
        page = await listed(server, kind=pb.RECORD_KIND_CHANGE, oldest_first=True, page_token=token)
        found, token = [*found, *page.records], page.next_page_token
    assert [(one.revision, one.record_omitted, bool(one.record_json)) for one in found] == [
        (1, False, True),
        (2, True, False),
        (3, False, True),
    ]


async def test_times_that_no_record_has_are_asked_for_all_the_same(server: Running) -> None:
    """From the first year to the last."""
    await asked_thrice(server)
    since, until_ = Timestamp(seconds=-62_135_596_800), Timestamp(seconds=253_402_300_799)
    between = await listed(server, kind=pb.RECORD_KIND_DECISION, since=since, until=until_)
    after = await listed(server, kind=pb.RECORD_KIND_DECISION, since=until_)
    before = await listed(server, kind=pb.RECORD_KIND_DECISION, until=since)
    assert (len(between.records), len(after.records), len(before.records)) == (3, 0, 0)
