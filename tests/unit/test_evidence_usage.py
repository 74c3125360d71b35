"""Uses restored from a journal: every allow that counts, over segments, checkpoints and torn ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.core.decide import decide, refuse
from pdp.core.model import (
    Approval,
    ApprovalState,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Request,
    Session,
    Task,
)
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot, Use
from pdp.evidence.journal.disk import LocalDisk
from pdp.evidence.journal.journal import Journal
from pdp.evidence.journal.segment_log import SegmentLog
from pdp.evidence.journal.segments import ChainEnd, segments_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import DecisionRecord
from pdp.evidence.trace import TraceContext
from pdp.evidence.trouble import JournalDamagedError
from pdp.evidence.usage.usage import UseLedger, keep_checkpoint, restore_uses

NOW = Instant(1_772_355_600_000_000_000)
LATER = Instant(NOW + 3_600_000_000_000)
ACTIONS, RESOURCES = ActionScope(["rows.*"]), ResourceScope(["database:**"])


def snapshot() -> Snapshot:
    """Return a state with a session, its approval, and a session delegated by it."""
    session = Session(
        id="s-1", identity="job", task="t-1", entitlement="e-1", approval="a-1", actions=ACTIONS, resources=RESOURCES,
        not_before=NOW, expires_at=LATER,
    )  # fmt: skip
    state = Snapshot()
    state.readiness = Readiness.READY
    facts = (
        Identity(id="job", kind=IdentityKind.CI_JOB, owner="o"),
        Task(id="t-1"),
        Entitlement(
            id="e-1", identity=IdentityScope(["job"]), actions=ACTIONS, resources=RESOURCES, certified_until=LATER
        ),
        Approval(
            id="a-1", requested_by="r", approved_by="o", state=ApprovalState.APPROVED, actions=ACTIONS,
            resources=RESOURCES, not_before=NOW, expires_at=LATER,
        ),
        session,
        replace(session, id="s-2", parent="s-1", approval=""),
    )  # fmt: skip
    state.apply(1, [Put(fact) for fact in facts])
    return state


def allow(after: int, session: str = "s-1", method: str = "Check") -> DecisionRecord:
    """Return the record of an allow `after` nanoseconds."""
    at, request = Instant(NOW + after), Request("job", "rows.read", "database:x", session=session)
    return DecisionRecord(
        decision_id="d", trace=TraceContext("a" * 32, "b" * 16), method=method, request=request,
        decision=decide(request, snapshot(), at), started_at=at, ended_at=at,
    )  # fmt: skip


def deny(after: int) -> DecisionRecord:
    """Return the record of a deny `after` nanoseconds."""
    at = Instant(NOW + after)
    return replace(allow(0), decision=refuse(Code.STATE_STALE, "no news", Snapshot(), at))


def write(directory: Path, *records: DecisionRecord) -> None:
    """Write records as one segment, without a checkpoint."""
    first = sum(segment.read_bytes().count(b"\n") for segment in segments_of(directory))
    log = SegmentLog(directory, LocalDisk(), 1 << 20, ChainEnd(first))
    log.write(map(body_of, records))
    log.sync()
    log.close()


def test_nothing_is_restored_from_an_empty_journal(tmp_path: Path) -> None:
    """The first start."""
    restored = restore_uses(tmp_path / "missing")
    assert (restored.session_uses, restored.approval_uses, restored.latest) == ({}, {}, 0)


def test_each_allow_counts_once_for_its_session_and_approval(tmp_path: Path) -> None:
    """With the decision time of the last one."""
    write(tmp_path, allow(1), allow(3), allow(2))
    restored = restore_uses(tmp_path)
    assert (restored.session_uses, restored.approval_uses) == (
        {"s-1": Use(3, Instant(NOW + 3))},
        {"a-1": Use(3, Instant(NOW + 3))},
    )


def test_a_delegated_allow_uses_the_whole_chain(tmp_path: Path) -> None:
    """The session, the one that delegated it, and that one's approval."""
    write(tmp_path, allow(1, "s-2"))
    restored = restore_uses(tmp_path)
    assert (set(restored.session_uses), set(restored.approval_uses)) == ({"s-1", "s-2"}, {"a-1"})


@pytest.mark.parametrize("method", ["Watch", "Explain", "ListPermissions"])
def test_what_only_informs_counts_no_use(tmp_path: Path, method: str) -> None:
    """As the contract says of these methods."""
    write(tmp_path, allow(1, method=method))
    assert restore_uses(tmp_path).session_uses == {}


def test_the_latest_decision_time_is_that_of_any_decision(tmp_path: Path) -> None:
    """A deny moves decision time as well."""
    write(tmp_path, allow(1), deny(9), allow(5))
    assert restore_uses(tmp_path).latest == NOW + 9


def test_uses_add_up_over_segments(tmp_path: Path) -> None:
    """Sealed ones get a checkpoint, from which the next start counts the same."""
    write(tmp_path, allow(1), deny(50))
    write(tmp_path, allow(2))
    write(tmp_path, allow(3))
    first = restore_uses(tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("*.uses"))] == [f"{1:020d}.uses", f"{3:020d}.uses"]
    second = restore_uses(tmp_path)
    assert first.session_uses == second.session_uses == {"s-1": Use(3, Instant(NOW + 3))}
    assert first.latest == second.latest == NOW + 50


def test_only_checkpoints_and_the_last_segment_are_read(tmp_path: Path) -> None:
    """What a sealed segment holds is no longer looked at."""
    write(tmp_path, allow(1))
    write(tmp_path, allow(2))
    restore_uses(tmp_path)
    segments_of(tmp_path)[0].write_bytes(b"not looked at\n")
    assert restore_uses(tmp_path).session_uses["s-1"].count == 2


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"sessions":{"s-1":[9,"x"]}}\n', b"\xff\n"])
def test_an_unfinished_checkpoint_is_made_again(tmp_path: Path, content: bytes) -> None:
    """It is derived, so it is never trusted in part."""
    write(tmp_path, allow(1))
    write(tmp_path, allow(2))
    tmp_path.joinpath(f"{1:020d}.uses").write_bytes(content)
    assert restore_uses(tmp_path).session_uses["s-1"].count == 2


def test_a_checkpoint_of_only_some_records_is_made_again(tmp_path: Path) -> None:
    """A crash came before the seal, the segment went on, and then the disk was full."""
    write(tmp_path, allow(1))
    segment = segments_of(tmp_path)[0]
    keep_checkpoint(segment, 1)
    log = SegmentLog(tmp_path, LocalDisk(), 1 << 20, ChainEnd(1, segment=segment, size=segment.stat().st_size))
    log.write([body_of(allow(2))])
    log.close()
    write(tmp_path, allow(3))
    assert restore_uses(tmp_path).session_uses["s-1"].count == 3
    assert restore_uses(tmp_path).session_uses["s-1"].count == 3


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    """Opening the journal sets it aside."""
    write(tmp_path, allow(1), allow(2))
    segment = segments_of(tmp_path)[0]
    segment.write_bytes(segment.read_bytes()[:-20])
    assert restore_uses(tmp_path).session_uses["s-1"].count == 1


def test_a_damaged_line_stops_the_restore(tmp_path: Path) -> None:
    """A use not counted could be a use too many."""
    write(tmp_path, allow(1), allow(2))
    segment = segments_of(tmp_path)[0]
    segment.write_bytes(b"x" + segment.read_bytes()[1:])
    with pytest.raises(JournalDamagedError, match="line 1 of segment"):
        restore_uses(tmp_path)


async def test_uses_survive_restarts_of_a_rotating_journal(tmp_path: Path) -> None:
    """Those of segments without a checkpoint, and those told by one, agree with what was written."""
    written = 0
    for _ in range(4):
        ledger = UseLedger()
        journal = Journal(tmp_path, ledger=ledger, segment_bytes=3_000)
        journal.open()
        assert written == (ledger.restored.session_uses["s-1"].count if written else 0)
        for _ in range(5):
            future = journal.append(allow(written), durable=True)
            assert future is not None
            await future
            written += 1
        await journal.close()
    assert len(segments_of(tmp_path)) > 3
    for segment in segments_of(tmp_path)[:-1]:
        counted = restore_uses(tmp_path).session_uses
        segment.with_suffix(".uses").unlink()
        assert counted == restore_uses(tmp_path).session_uses == {"s-1": Use(20, Instant(NOW + 19))}


def test_a_missing_first_segment_stops_the_restore(tmp_path: Path) -> None:
    """Its uses would be forgotten, and a limit be open again."""
    write(tmp_path, allow(1))
    write(tmp_path, allow(2))
    segments_of(tmp_path)[0].unlink()
    with pytest.raises(JournalDamagedError, match="the journal begins with segment"):
        restore_uses(tmp_path)
