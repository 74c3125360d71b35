"""What the journal says about one session, over segments, and of what it rests on no further back than it goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
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
from pdp.evidence.index.offline import searching
from pdp.evidence.record import AnyRecord, ChangeRecord
from pdp.evidence.session_record import ChangeOnRecord, DecisionOnRecord, SessionRecord, session_record
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


def record(journal: Path, session: Session = OPENED, most_decisions: int = 9) -> SessionRecord:
    """Return what a journal says about a session."""
    with searching(journal) as search:
        return session_record(search, session, most_decisions)


def test_decisions_are_counted_and_the_latest_are_told(tmp_path: Path) -> None:
    """The newest first; of other sessions nothing."""
    journal = segments(tmp_path, [change(1, "OpenSession"), allow(2)], [deny(3), allow(4, "s-2")], [allow(5)])
    told = record(journal, most_decisions=2)
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
    told = record(journal)
    assert [(one.revision, one.method) for one in told.changes] == [
        (1, "OpenSession"),
        (3, "NarrowSession"),
        (4, "CloseSession"),
    ]
    assert told.changes[0] == ChangeOnRecord(1, Instant(NOW + 1), "OpenSession", "release-manager", "the release")


def test_of_its_task_nothing_is_told_from_before_it_was_opened(tmp_path: Path) -> None:
    """Whatever became of the task then."""
    journal = segments(tmp_path, [wrote(1, "OpenTask", Task(id="t-1"))], [change(2, "DelegateSession")], [allow(3)])
    assert told_of(journal) == [2]


def test_of_an_imported_session_is_told_from_its_beginning_on(tmp_path: Path) -> None:
    """Nothing says which import was the first."""
    task = wrote(9, "OpenTask", Task(id="t-1")), wrote(10, "ReopenTask", Task(id="t-1"))
    journal = segments(tmp_path, [*task, allow(11)], [change(11, "ApplyFacts")], [change(12, "ApplyFacts")])
    told = record(journal, IMPORTED)
    assert ([one.revision for one in told.changes], told.allowed) == ([10, 11, 12], 1)


def test_of_a_session_whose_opening_is_not_on_record_all_is_told(tmp_path: Path) -> None:
    """Retention may have removed it."""
    journal = segments(tmp_path, [wrote(1, "CompleteTask", Task(id="t-1"))], [change(2, "CloseSession"), allow(3)])
    told = record(journal)
    assert ([one.revision for one in told.changes], told.allowed) == ([1, 2], 1)


def test_what_is_counted_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest decisions are."""
    monkeypatch.setattr(module, "MOST_DECISIONS", 3)
    monkeypatch.setattr(module, "_PAGE", 2)
    journal = segments(tmp_path, [allow(1), allow(2)], [deny(3), allow(4)], [allow(5), allow(6, "s-2")])
    told = record(journal, most_decisions=2)
    assert (told.allowed, told.denied, [one.at - NOW for one in told.decisions]) == (2, 1, [5, 4])


def test_what_only_the_latest_changes_can_tell_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index does not know of whom a family's revocation is; what it finds by an id is told whenever it was."""
    monkeypatch.setattr(module, "MOST_OTHERS", 1)
    of_family, of_task, of_identity = (
        revocation("r-1", RevocationTarget.IDENTITY, "**"),
        revocation("r-2", RevocationTarget.TASK, "t-1"),
        revocation("r-3", RevocationTarget.IDENTITY, "job"),
    )
    revoked = [wrote(number, "Revoke", one) for number, one in enumerate((of_family, of_task, of_identity), 2)]
    journal = segments(tmp_path, [change(1, "OpenSession"), *revoked], [wrote(5, "OpenTask", Task(id="t-2"))])
    assert told_of(journal) == [1, 3, 4]


def test_an_id_is_sought_as_the_journal_writes_it(tmp_path: Path) -> None:
    """With what JSON escapes."""
    odd = replace(OPENED, id='s "1" \\ ü')
    journal = segments(tmp_path, [change(1, "OpenSession", session=odd)])
    assert len(record(journal, odd).changes) == 1


def test_of_many_changes_the_latest_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who renews it again and again, for reasons as long as there are, must not make the whole untellable."""
    monkeypatch.setattr(module, "MOST_CHANGES", 2)
    journal = segments(
        tmp_path, [change(1, "OpenSession"), change(2, "RenewSession")], [change(3, "RenewSession"), allow(4)]
    )
    told = record(journal)
    assert ([one.revision for one in told.changes], told.allowed) == ([2, 3], 1)


APPROVAL = replace(snapshot().approvals["a-1"], consents=(Consent(by="approver", at=NOW),))


def wrote(revision: int, method: str, *changes: Change | AnyFact) -> ChangeRecord:
    """Return the record of a change that writes or removes facts."""
    puts = tuple(one if isinstance(one, Put | Drop) else Put(one) for one in changes)
    return ChangeRecord(revision=revision, changes=puts, actor="operator", at=Instant(NOW + revision), method=method)


def revocation(id_: str, target: RevocationTarget, target_id: str) -> Revocation:
    """Return a revocation that is in force."""
    return Revocation(id=id_, target=target, target_id=target_id, effective_at=NOW, reason="a leak")


def told_of(journal: Path) -> list[int]:
    """Return the revisions of the changes that are told of the session."""
    return [one.revision for one in record(journal).changes]


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
    assert told_of(segments(tmp_path, [change(1, "OpenSession"), *complete])) == [1, 2]


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
