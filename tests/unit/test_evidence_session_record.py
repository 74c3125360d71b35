"""What the journal says about one session, over segments, and no further back than the session goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    Approval,
    Change,
    Consent,
    Drop,
    FactKind,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    Task,
)
from pdp.core.reasons import Code
from pdp.evidence import session_record as module
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.record import AnyRecord, ChangeRecord
from pdp.evidence.session_record import ChangeOnRecord, DecisionOnRecord, session_record
from tests.unit.test_evidence_usage import NOW, allow, deny, snapshot, write

OPENED = replace(snapshot().sessions["s-1"], opened_by="release-manager")
IMPORTED = replace(OPENED, opened_by="", not_before=Instant(NOW + 10))


def change(revision: int, method: str, *, session: Session = OPENED) -> ChangeRecord:
    """Return the record of a change that writes a session, and something else."""
    return ChangeRecord(
        revision=revision,
        changes=(Put(Task(id=session.task)), Put(session)),
        actor="release-manager",
        reason="the release",
        at=Instant(NOW + revision),
        method=method,
    )


def segments(directory: Path, *each: list[AnyRecord]) -> Path:
    """Write one segment of each list of records."""
    for records in each:
        write(directory, *records)  # type: ignore[arg-type]  # takes any record
    return directory


def test_decisions_are_counted_and_the_latest_are_told(tmp_path: Path) -> None:
    """The newest first; of other sessions nothing."""
    journal = segments(tmp_path, [change(1, "OpenSession"), allow(2)], [deny(3), allow(4, "s-2")], [allow(5)])
    told = session_record(journal, OPENED, 2)
    expected = (
        DecisionOnRecord(
            "d", Instant(NOW + 5), allowed=True, code=Code.GRANTED, action="rows.read", resource="database:x"
        ),
        DecisionOnRecord("d", NOW, allowed=False, code=Code.STATE_STALE, action="rows.read", resource="database:x"),
    )
    assert (told.allowed, told.denied, told.decisions) == (2, 1, expected)


def test_changes_of_the_session_are_told_the_oldest_first(tmp_path: Path) -> None:
    """Whatever else they wrote."""
    other = replace(OPENED, id="s-2", task="t-2")
    journal = segments(
        tmp_path,
        [change(1, "OpenSession"), change(2, "OpenSession", session=other)],
        [change(3, "NarrowSession"), change(4, "CloseSession")],
    )
    told = session_record(journal, OPENED, 0)
    assert [(one.revision, one.method) for one in told.changes] == [
        (1, "OpenSession"),
        (3, "NarrowSession"),
        (4, "CloseSession"),
    ]
    assert told.changes[0] == ChangeOnRecord(1, Instant(NOW + 1), "OpenSession", "release-manager", "the release")


def test_nothing_is_read_from_before_the_session_was_opened(tmp_path: Path) -> None:
    """What older segments hold is not looked at."""
    journal = segments(tmp_path, [allow(1)], [change(2, "DelegateSession")], [allow(3)])
    segments_of(journal)[0].write_bytes(b'"s-1" is in no record\n')
    assert session_record(journal, OPENED, 9).allowed == 1


def test_of_an_imported_session_is_read_back_to_its_beginning(tmp_path: Path) -> None:
    """Nothing says which import was the first."""
    journal = segments(tmp_path, [allow(1)], [allow(9)], [change(11, "ApplyFacts")], [change(12, "ApplyFacts")])
    told = session_record(journal, IMPORTED, 9)
    assert ([one.revision for one in told.changes], told.allowed) == ([11, 12], 1)


def test_what_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that nobody opened is not sought for ever."""
    monkeypatch.setattr(module, "MOST_SEGMENTS", 2)
    journal = segments(tmp_path, [allow(1)], [allow(2)], [allow(3)])
    assert session_record(journal, OPENED, 9).allowed == 2


@pytest.mark.parametrize("block", [1, 7, 500, 5000])
def test_a_line_is_found_wherever_it_lies_in_what_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """And a torn end is no line."""
    monkeypatch.setattr(module, "_BLOCK", block)
    journal = segments(tmp_path, [allow(number) for number in range(12)])
    segment = segments_of(journal)[0]
    segment.write_bytes(segment.read_bytes()[:-5])
    assert session_record(journal, OPENED, 0).allowed == 11


def test_an_id_is_sought_as_the_journal_writes_it(tmp_path: Path) -> None:
    """With what JSON escapes."""
    odd = replace(OPENED, id='s "1" \\ ü')
    journal = segments(tmp_path, [change(1, "OpenSession", session=odd)])
    assert len(session_record(journal, odd, 0).changes) == 1


def test_of_many_changes_the_latest_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who renews it again and again, for reasons as long as there are, must not make the whole untellable."""
    monkeypatch.setattr(module, "MOST_CHANGES", 2)
    journal = segments(
        tmp_path, [change(1, "OpenSession"), change(2, "RenewSession")], [change(3, "RenewSession"), allow(4)]
    )
    told = session_record(journal, OPENED, 0)
    assert ([one.revision for one in told.changes], told.allowed) == ([2, 3], 1)


APPROVAL = replace(snapshot().approvals["a-1"], consents=(Consent(by="approver", at=NOW),))


def wrote(revision: int, method: str, *changes: Change | AnyFact) -> ChangeRecord:
    """Return the record of a change that writes or removes facts."""
    puts = tuple(one if isinstance(one, Put | Drop) else Put(one) for one in changes)
    return ChangeRecord(revision=revision, changes=puts, actor="operator", at=Instant(NOW + revision), method=method)


def revocation(id_: str, target: RevocationTarget, target_id: str) -> Revocation:
    """Return a revocation that is in force."""
    return Revocation(id=id_, target=target, target_id=target_id, effective_at=NOW, reason="a leak")


def told_of(journal: Path, approval: Approval | None = APPROVAL) -> list[int]:
    """Return the revisions of the changes that are told of the session."""
    return [one.revision for one in session_record(journal, OPENED, 0, approval).changes]


def test_changes_of_its_approval_are_told_from_the_request_on(tmp_path: Path) -> None:
    """Which lies before the session; what else was written before it is no part of its story."""
    other = replace(APPROVAL, id="a-2")
    journal = segments(
        tmp_path,
        [
            wrote(1, "RequestApproval", APPROVAL),
            wrote(2, "RequestApproval", other),
            wrote(3, "OpenTask", Task(id="t-1")),
        ],
        [wrote(4, "Approve", APPROVAL), change(5, "OpenSession"), wrote(6, "Withdraw", APPROVAL)],
    )
    assert told_of(journal) == [1, 4, 5, 6]


def test_changes_of_its_task_are_told_from_the_opening_on(tmp_path: Path) -> None:
    """Of other tasks none."""
    complete = [wrote(2, "CompleteTask", Task(id="t-1")), wrote(3, "CompleteTask", Task(id="t-2"))]
    assert told_of(segments(tmp_path, [change(1, "OpenSession"), *complete]), None) == [1, 2]


@pytest.mark.parametrize(
    ("target", "target_id", "told"),
    [
        (RevocationTarget.SESSION, "s-1", True),
        (RevocationTarget.APPROVAL, "a-1", True),
        (RevocationTarget.TASK, "t-1", True),
        (RevocationTarget.ENTITLEMENT, "e-1", True),
        (RevocationTarget.IDENTITY, "job", True),
        (RevocationTarget.IDENTITY, "**", True),
        (RevocationTarget.IDENTITY, "s-1", False),
        (RevocationTarget.SESSION, "s-2", False),
    ],
)
def test_revocations_of_what_it_rests_on_are_told_also_when_lifted(
    tmp_path: Path, target: RevocationTarget, target_id: str, *, told: bool
) -> None:
    """The lift names the revocation alone, and may lie in a later segment."""
    journal = segments(
        tmp_path,
        [change(1, "OpenSession"), wrote(2, "Revoke", revocation("r-1", target, target_id))],
        [wrote(3, "LiftRevocation", Drop(FactKind.REVOCATION, "r-1"))],
    )
    assert told_of(journal) == ([1, 2, 3] if told else [1])


def test_what_was_revoked_and_lifted_before_the_session_is_told_of_its_approval_alone(tmp_path: Path) -> None:
    """The rest is of other sessions."""
    of_task, of_approval = (
        revocation("r-1", RevocationTarget.TASK, "t-1"),
        revocation("r-2", RevocationTarget.APPROVAL, "a-1"),
    )
    lifts = [wrote(4, "LiftRevocation", Drop(FactKind.REVOCATION, "r-1"))]
    lifts.append(wrote(5, "LiftRevocation", Drop(FactKind.REVOCATION, "r-2")))
    journal = segments(
        tmp_path,
        [wrote(1, "RequestApproval", APPROVAL), wrote(2, "Revoke", of_task), wrote(3, "Revoke", of_approval)],
        [*lifts, change(6, "OpenSession")],
    )
    assert told_of(journal) == [1, 3, 5, 6]
