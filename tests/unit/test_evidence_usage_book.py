"""What was used of sessions, approvals and entitlements: over restarts, lost and damaged files, and beyond bounds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.model import FactKind, Instant, Request
from pdp.evidence.journal.journal import Journal
from pdp.evidence.journal.segments import segments_of
from pdp.evidence.record import DecisionRecord
from pdp.evidence.trouble import UsageUnavailableError
from pdp.evidence.usage import usage_book
from pdp.evidence.usage.usage_book import UsageBook
from pdp.evidence.usage.usage_file import MOST_TOLD_APART
from pdp.evidence.usage.usage_summary import UNUSED, UsageSummary, UseCount
from tests.unit.test_evidence_usage import NOW, allow, deny, snapshot

SESSION, APPROVAL, ENTITLEMENT = FactKind.SESSION, FactKind.APPROVAL, FactKind.ENTITLEMENT


def allow_of(after: int, action: str, resource: str) -> DecisionRecord:
    """Return the record of an allow to do this."""
    request = Request("job", action, resource, session="s-1")
    return replace(allow(after), request=request, decision=decide(request, snapshot(), Instant(NOW + after)))


async def keep(directory: Path, *records: DecisionRecord, crash: bool = False) -> UsageBook:
    """Write records as one run of a journal does; return the book, closed unless the process died."""
    book = UsageBook()
    journal = Journal(directory, ledger=book, segment_bytes=3_000)
    journal.open()
    for record in records:
        written = journal.append(record, durable=True)
        assert written is not None
        await written
    await journal.close()
    if not crash:
        book.start()
        book.close()
    return book


@pytest.fixture
def opened() -> Iterator[Callable[[Path], UsageBook]]:
    """Return what opens a book of a journal that is not written to."""
    books: list[UsageBook] = []

    def open_(directory: Path) -> UsageBook:
        books.append(UsageBook())
        lines = sum(segment.read_bytes().count(b"\n") for segment in directory.glob("*.jsonl"))
        books[-1].resume(directory, lines)
        return books[-1]

    yield open_
    for book in books:
        book.close()


Open = Callable[[Path], UsageBook]


async def test_an_allow_is_a_use_of_session_approval_and_entitlement(tmp_path: Path) -> None:
    """With its first and last time, and by action and resource."""
    book = await keep(tmp_path, allow(1), allow_of(3, "rows.write", "database:y"), allow(2), crash=True)
    uses = (
        UseCount("rows.read", "database:x", 2, Instant(NOW + 2)),
        UseCount("rows.write", "database:y", 1, Instant(NOW + 3)),
    )
    expected = UsageSummary(3, Instant(NOW + 1), Instant(NOW + 3), uses)
    found = [book.used_by(SESSION, "s-1"), book.used_by(APPROVAL, "a-1"), book.used_by(ENTITLEMENT, "e-1")]
    book.close()
    assert [expected] * 3 == found


async def test_a_delegated_allow_is_a_use_of_each_ancestor(tmp_path: Path, opened: Open) -> None:
    """The session that delegated was used, and the approval it rests on."""
    await keep(tmp_path, allow(1, "s-2"))
    book = opened(tmp_path)
    counts = [book.used_by(SESSION, "s-1").count, book.used_by(SESSION, "s-2").count]
    assert [*counts, book.used_by(APPROVAL, "a-1").count] == [1, 1, 1]


@pytest.mark.parametrize("crash", [False, True])
async def test_a_delegated_allow_is_a_use_of_the_entitlement_behind_each_ancestor(
    tmp_path: Path, opened: Open, *, crash: bool
) -> None:
    """Or what is used by delegation alone would look unused; counted live and from the journal alike."""
    delegated = allow(1, "s-2")
    allowed = delegated.decision
    assert isinstance(allowed, Allow)
    grant = replace(allowed.grant, entitlement=replace(allowed.grant.entitlement, id="e-2"))
    await keep(tmp_path, replace(delegated, decision=replace(allowed, grant=grant)), crash=crash)
    book = opened(tmp_path)
    assert [book.used_by(ENTITLEMENT, id_).count for id_ in ("e-1", "e-2")] == [1, 1]


async def test_what_is_no_use_is_not_counted(tmp_path: Path, opened: Open) -> None:
    """A deny, and an allow that only informs."""
    await keep(tmp_path, deny(1), allow(2, method="Watch"))
    assert opened(tmp_path).used_by(SESSION, "s-1") == UNUSED


async def test_uses_add_up_over_restarts(tmp_path: Path, opened: Open) -> None:
    """The file says up to which record it counts."""
    for run in range(3):
        await keep(tmp_path, allow(run * 10), deny(run * 10 + 1), allow(run * 10 + 2))
    assert opened(tmp_path).used_by(SESSION, "s-1").count == 6


async def test_what_a_crash_kept_from_the_file_is_read_from_the_journal(tmp_path: Path, opened: Open) -> None:
    """Each record once, whether the file had it or not."""
    await keep(tmp_path, allow(1))
    await keep(tmp_path, allow(2), allow(3), crash=True)
    assert opened(tmp_path).used_by(SESSION, "s-1").count == 3


async def test_a_lost_file_is_made_anew_from_the_journal(tmp_path: Path, opened: Open) -> None:
    """It is derived; so is the time from which on anything is known."""
    book = await keep(tmp_path, allow(1), allow(2))
    before = opened(tmp_path).used_by(SESSION, "s-1")
    (tmp_path / usage_book.FILE).unlink()
    book = opened(tmp_path)
    assert (before, Instant(NOW + 1)) == (book.used_by(SESSION, "s-1"), book.since())


async def test_a_lost_file_is_made_anew_while_new_uses_come_in(tmp_path: Path) -> None:
    """What was before the start is read from the journal, what came since from memory."""
    await keep(tmp_path, allow(1), allow(2))
    (tmp_path / usage_book.FILE).unlink()
    book = await keep(tmp_path, allow(3), crash=True)
    counted = book.used_by(SESSION, "s-1")
    book.close()
    assert (counted.count, counted.first, counted.last) == (3, NOW + 1, NOW + 3)


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
async def test_a_damaged_file_is_made_anew(tmp_path: Path, opened: Open, content: bytes) -> None:
    """Whatever stands in it."""
    await keep(tmp_path, allow(1), allow(2))
    (tmp_path / usage_book.FILE).write_bytes(content)
    assert opened(tmp_path).used_by(SESSION, "s-1").count == 2


async def test_a_file_damaged_within_is_made_anew(tmp_path: Path, opened: Open) -> None:
    """What SQLite finds only when it reads a page."""
    await keep(tmp_path, allow(1), allow(2))
    path = tmp_path / usage_book.FILE
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    assert opened(tmp_path).used_by(SESSION, "s-1").count == 2


async def test_a_file_of_another_version_is_made_anew(tmp_path: Path, opened: Open) -> None:
    """Nobody migrates what can be derived."""
    await keep(tmp_path, allow(1), allow(2))
    with closing(sqlite3.connect(tmp_path / usage_book.FILE)) as file:
        file.execute("PRAGMA user_version = 99")
    assert opened(tmp_path).used_by(SESSION, "s-1").count == 2


async def test_a_file_of_another_journal_is_made_anew(tmp_path: Path, opened: Open) -> None:
    """It counts records that this journal does not have."""
    await keep(tmp_path / "long", allow(1), allow(2), allow(3))
    await keep(tmp_path / "short", allow(1))
    (tmp_path / "long" / usage_book.FILE).rename(tmp_path / "short" / usage_book.FILE)
    assert opened(tmp_path / "short").used_by(SESSION, "s-1").count == 1


async def test_more_than_is_told_apart_is_counted_in_the_total(tmp_path: Path, opened: Open) -> None:
    """A scan of a million resources must not fill the disk."""
    records = [allow_of(number, "rows.read", f"database:{number}") for number in range(MOST_TOLD_APART + 2)]
    await keep(tmp_path, *records, allow_of(5000, "rows.read", "database:7"))
    used = opened(tmp_path).used_by(SESSION, "s-1")
    assert (used.count, len(used.uses), used.truncated) == (MOST_TOLD_APART + 3, MOST_TOLD_APART, True)
    assert (used.uses[0].resource, used.uses[0].count) == ("database:7", 2)


async def test_a_backlog_too_large_for_memory_is_read_from_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded, and nothing is forgotten."""
    monkeypatch.setattr(usage_book, "_MOST_PENDING", 2)
    records = [allow_of(number, "rows.read", f"database:{number}") for number in range(9)]
    book = await keep(tmp_path, *records, crash=True)
    counted = book.used_by(SESSION, "s-1").count
    book.close()
    assert counted == 9


async def test_uses_that_the_disk_refused_are_counted_later(tmp_path: Path) -> None:
    """What memory has given away is in the journal still."""
    book = await keep(tmp_path, allow(1), allow(2), crash=True)
    (tmp_path / usage_book.FILE).mkdir()
    with pytest.raises(UsageUnavailableError):
        book.used_by(SESSION, "s-1")
    (tmp_path / usage_book.FILE).rmdir()
    counted = book.used_by(SESSION, "s-1").count
    book.close()
    assert counted == 2


async def test_a_journal_that_is_damaged_is_not_told_as_unused(tmp_path: Path, opened: Open) -> None:
    """In doubt, say which doubt."""
    await keep(tmp_path, allow(1))
    segment = segments_of(tmp_path)[0]
    (tmp_path / usage_book.FILE).unlink()
    segment.write_bytes(b"x" + segment.read_bytes()[1:])
    with pytest.raises(UsageUnavailableError, match="is not a record"):
        opened(tmp_path).used_by(SESSION, "s-1")


def test_without_a_journal_nothing_is_told() -> None:
    """Nor is a file made anywhere."""
    with pytest.raises(UsageUnavailableError, match="no journal is open"):
        UsageBook().used_by(SESSION, "s-1")


async def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    """As every file of the journal."""
    await keep(tmp_path, allow(1))
    assert oct((tmp_path / usage_book.FILE).stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("line", ['{"seq":1,"time":"yesterday"}', "{}"])
async def test_a_journal_that_begins_with_no_record_is_told_of_as_trouble(tmp_path: Path, line: str) -> None:
    """Not by an error that ends the thread which brings counts to the disk."""
    book = await keep(tmp_path, allow(1), allow(2), crash=True)
    segment = segments_of(tmp_path)[0]
    kept = segment.read_bytes()
    segment.write_bytes(line.encode() + b"\n" + kept.partition(b"\n")[2])
    with pytest.raises(UsageUnavailableError, match="usage cannot be told"):
        book.used_by(SESSION, "s-1")
    segment.write_bytes(kept)
    assert book.used_by(SESSION, "s-1").count == 2
    book.close()
