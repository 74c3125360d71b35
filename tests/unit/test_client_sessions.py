"""Sessions of the Python client: opened just in time, closed however their block ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from sessionpdp import AsyncGovernance, CommandRefused, Governance, GovernanceUnavailable, InvalidCommand
from sessionpdp.testing import FakeAsyncPDP, FakePDP

from tests.recording_governance import OPENED_AT_S, RecordingGovernance, recording

SCOPE: dict[str, Any] = {"actions": ["rows.read"], "resources": ["database:prod/users"]}
SESSION: dict[str, Any] = {"identity": "agent", "task": "t-1", "entitlement": "e-1", **SCOPE}
CHILD: dict[str, Any] = {"identity": "helper", "entitlement": "e-2"}
INTERNAL = grpc.StatusCode.INTERNAL


class WorkError(Exception):
    """What a block may raise."""


@pytest.fixture
def server() -> Iterator[RecordingGovernance]:
    """Return a running door."""
    with recording() as started:
        yield started


@pytest.fixture
def governance(server: RecordingGovernance) -> Iterator[Governance]:
    """Return a client of it."""
    with Governance(server.target) as client:
        yield client


def test_a_session_lives_as_long_as_its_block(governance: Governance, server: RecordingGovernance) -> None:
    """Opened just in time, closed at the end."""
    with governance.session(**SESSION, ttl=timedelta(minutes=5)) as session:
        assert server.methods() == ["OpenSession"]
        assert session.expires_at == datetime.fromtimestamp(OPENED_AT_S + 300, UTC)
        assert (session.identity, session.revision) == ("agent", 1)
    assert server.methods() == ["OpenSession", "CloseSession"]
    opened, closed = (asked.request for asked in server.asked)
    assert (opened.id, closed.session_id) == (session.id, session.id)
    assert closed.reason == "the work is done"


def test_a_session_may_have_an_id_of_the_callers(governance: Governance, server: RecordingGovernance) -> None:
    """As `open_session` may."""
    with governance.session(**SESSION, id="s-1") as session:
        assert session.id == "s-1"
    assert server.asked[1].request.session_id == "s-1"


def test_a_session_is_closed_when_its_block_raises(governance: Governance, server: RecordingGovernance) -> None:
    """And the record says so, by the kind of error alone, for its text may hold anything."""
    with pytest.raises(WorkError), governance.session(**SESSION):
        raise WorkError
    assert server.reasons("CloseSession") == ["the work failed: WorkError"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(KeyboardInterrupt, "told to stop: SIGINT"), (SystemExit, "the work failed: SystemExit")],
)
def test_a_session_interrupted_is_no_failure_of_the_work(
    governance: Governance, server: RecordingGovernance, error: type[BaseException], reason: str
) -> None:
    """An exit of the block's own is none of a signal."""
    with pytest.raises(error), governance.session(**SESSION):
        raise error
    assert server.reasons("CloseSession") == [reason]


def test_a_signal_that_is_dealt_with_is_no_reason_of_later_ends(
    governance: Governance, server: RecordingGovernance
) -> None:
    """An application may go on."""
    with pytest.raises(SystemExit), governance.session(**SESSION):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit), governance.session(**SESSION):
        raise SystemExit
    assert server.reasons("CloseSession") == ["told to stop: SIGTERM", "the work failed: SystemExit"]


def test_a_refused_session_has_no_block(governance: Governance, server: RecordingGovernance) -> None:
    """Nothing was opened, so nothing is closed."""
    server.refuse("OpenSession", "APPROVAL_REQUIRED", "no approval", "request one", "policy:production")
    with pytest.raises(CommandRefused), governance.session(**SESSION):
        pytest.fail("the block ran")
    assert server.methods() == ["OpenSession"]


def test_a_session_that_may_be_open_is_closed(governance: Governance, server: RecordingGovernance) -> None:
    """The answer to its opening was lost for good."""
    server.fail("OpenSession", INTERNAL, "who knows")
    with pytest.raises(GovernanceUnavailable), governance.session(**SESSION):
        pytest.fail("the block ran")
    assert server.reasons("CloseSession") == ["the opening was not completed"]
    assert server.asked[0].request.id == server.asked[1].request.session_id


def test_a_session_that_may_be_anothers_is_not_closed(governance: Governance, server: RecordingGovernance) -> None:
    """An id that the caller chose may have been given before."""
    server.fail("OpenSession", INTERNAL, "who knows")
    with pytest.raises(GovernanceUnavailable), governance.session(**SESSION, id="s-1"):
        pytest.fail("the block ran")
    assert server.methods() == ["OpenSession"]


@pytest.mark.parametrize("rule", ["WRONG_STATE", "NOT_FOUND", "SESSION_EXPIRED"])
def test_closing_what_has_ended_is_no_error(governance: Governance, server: RecordingGovernance, rule: str) -> None:
    """Somebody else was faster, or time was."""
    with governance.session(**SESSION):
        server.refuse("CloseSession", rule, "it is closed already", "nothing needs to be done", "session:s-1")
    assert server.methods() == ["OpenSession", "CloseSession"]


def test_a_session_that_cannot_be_closed_is_an_error(governance: Governance, server: RecordingGovernance) -> None:
    """The work is done, but access goes on."""
    with pytest.raises(CommandRefused, match="NOT_YOURS"), governance.session(**SESSION):
        server.refuse("CloseSession", "NOT_YOURS", "another opened it", "ask them", "session:s-1")


def test_the_error_of_the_block_wins(
    governance: Governance, server: RecordingGovernance, caplog: pytest.LogCaptureFixture
) -> None:
    """That of the closing is logged."""
    server.fail("CloseSession", INTERNAL, "the disk is full")
    with pytest.raises(WorkError), governance.session(**SESSION, id="s-1"):
        raise WorkError
    assert [record.getMessage() for record in caplog.records] == [
        "session `s-1` could not be closed: INTERNAL: the disk is full"
    ]
    assert caplog.records[0].levelno == logging.ERROR


def test_a_session_opens_once(governance: Governance) -> None:
    """What is closed is not opened again under the same id."""
    with governance.session(**SESSION) as session:
        pass
    with pytest.raises(RuntimeError, match="has been opened before"):
        session.__enter__()


def test_a_session_is_never_a_dry_run(governance: Governance, server: RecordingGovernance) -> None:
    """There would be no session in the block."""
    with pytest.raises(InvalidCommand, match="`dry_run` opens no session"):
        governance.session(**SESSION, dry_run=True)
    assert server.asked == []


def test_a_session_follows_its_changes(governance: Governance, server: RecordingGovernance) -> None:
    """Renewed and narrowed, it knows its new end and revision."""
    with governance.session(**SESSION) as session:
        session.renew(ttl=timedelta(minutes=10))
        assert session.expires_at == datetime.fromtimestamp(OPENED_AT_S + 600, UTC)
        session.narrow(ttl=timedelta(minutes=1), reason="enough")
        assert session.expires_at == datetime.fromtimestamp(OPENED_AT_S + 60, UTC)
        session.narrow(ttl=timedelta(seconds=1), dry_run=True)
        assert session.expires_at == datetime.fromtimestamp(OPENED_AT_S + 60, UTC)
        assert session.revision == 3
    assert server.methods() == ["OpenSession", "RenewSession", "NarrowSession", "NarrowSession", "CloseSession"]


def test_a_session_delegates_to_another(governance: Governance, server: RecordingGovernance) -> None:
    """The child's block ends before the parent's."""
    with governance.session(**SESSION) as parent, parent.delegate(**CHILD) as child:
        assert server.asked[1].request.parent == parent.id
        assert child.identity == "helper"
    assert [asked.request.session_id for asked in server.asked[2:]] == [child.id, parent.id]


def test_checks_within_a_session_see_it(governance: Governance) -> None:
    """Subject, session and the revision of its latest change are filled in."""
    pdp = FakePDP()
    pdp.allow(subject="agent")
    with governance.session(**SESSION) as session:
        checking = session.on(pdp)
        assert checking.check("rows.read", "database:prod/users", context={"source_ip": "10.0.0.1"}).allowed
        session.renew()
        checking.check("rows.read", "database:prod/users")
    first, second = pdp.checks
    assert (first.subject, first.session, first.at_least_revision) == ("agent", session.id, 1)
    assert first.context == {"source_ip": "10.0.0.1"}
    assert second.at_least_revision == 2


def test_sigterm_is_as_it_was_afterwards(governance: Governance) -> None:
    """Also when sessions end in another order than they began, or are not opened."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    first, second = governance.session(**SESSION), governance.session(**SESSION)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert callable(signal.getsignal(signal.SIGTERM))
    second.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_application_that_handles_sigterm_is_left_alone(governance: Governance) -> None:
    """Its handler stays, whether it was set before the session or within it."""

    def handler(*_: object) -> None:
        """Do nothing."""

    signal.signal(signal.SIGTERM, handler)
    try:
        with governance.session(**SESSION):
            assert signal.getsignal(signal.SIGTERM) is handler
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with governance.session(**SESSION):
            signal.signal(signal.SIGTERM, handler)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def test_an_asyncio_session_lives_as_long_as_its_block(server: RecordingGovernance) -> None:
    """With all that the blocking one can."""
    pdp = FakeAsyncPDP()
    pdp.allow(subject="agent")
    async with AsyncGovernance(server.target) as governance:
        async with governance.session(**SESSION) as session:
            await session.renew(ttl=timedelta(minutes=10))
            await session.narrow(max_uses=3)
            assert session.revision == 3
            assert (await session.on(pdp).check("rows.read", "database:prod/users")).allowed
            async with session.delegate(**CHILD) as child:
                assert child.expires_at is not None
        with pytest.raises(WorkError):
            async with governance.session(**SESSION):
                raise WorkError
    assert server.methods()[:6] == [
        "OpenSession",
        "RenewSession",
        "NarrowSession",
        "DelegateSession",
        "CloseSession",
        "CloseSession",
    ]
    assert server.reasons("CloseSession") == ["the work is done"] * 2 + ["the work failed: WorkError"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_asyncio_sessions_fail_as_blocking_ones(
    server: RecordingGovernance, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused one has no block, one in doubt is closed, one that stays open is said."""
    async with AsyncGovernance(server.target) as governance:
        server.refuse("OpenSession", "APPROVAL_REQUIRED", "no approval", "request one", "policy:production")
        with pytest.raises(CommandRefused):
            await governance.session(**SESSION).__aenter__()
        server.fail("OpenSession", INTERNAL, "who knows")
        with pytest.raises(GovernanceUnavailable):
            await governance.session(**SESSION).__aenter__()
        server.fail("CloseSession", INTERNAL, "the disk is full", times=2)
        with pytest.raises(GovernanceUnavailable):
            async with governance.session(**SESSION):
                pass
        with pytest.raises(WorkError):
            async with governance.session(**SESSION):
                raise WorkError
    assert server.methods() == ["OpenSession", "OpenSession", "CloseSession", *["OpenSession", "CloseSession"] * 2]
    assert len(caplog.records) == 1


async def test_cancelled_while_closing_a_session_is_closed_all_the_same(server: RecordingGovernance) -> None:
    """As every task is at the end of its loop."""

    async def work(governance: AsyncGovernance) -> None:
        async with governance.session(**SESSION):
            server.hold("CloseSession")

    async with AsyncGovernance(server.target) as governance:
        working = asyncio.create_task(work(governance))
        await asyncio.to_thread(server.wait_for, "CloseSession")
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert server.reasons("CloseSession") == ["the work is done"] * 2


class Story:
    """A program that works in sessions, in a process of its own."""

    def __init__(self, story: str, target: str) -> None:
        prologue = f"""
            import asyncio, multiprocessing, os, signal, sys, threading, time
            from sessionpdp import AsyncGovernance, Governance
            SESSION = {SESSION!r}
            governance, agovernance = Governance(), AsyncGovernance()
        """
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(prologue) + textwrap.dedent(story)],
            env={**os.environ, "SESSIONPDP_ADMIN_TARGET": target},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def reads(self) -> str:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def stop(self) -> None:
        """Tell it to stop."""
        self._process.terminate()

    def ends(self) -> tuple[int, str]:
        """Return its status, and what else it printed."""
        try:
            printed, _ = self._process.communicate(timeout=30)
        finally:
            self._process.kill()  # no story takes so long, but one that hangs must not outlive its test
        return self._process.returncode, printed


BLOCKING = """
    with governance.session(**SESSION):
        print("working", flush=True)
        time.sleep(60)
"""
ASYNCIO = """
    async def work():
        async with agovernance.session(**SESSION):
            print("working", flush=True)
            await asyncio.sleep(60)
    asyncio.run(work())
"""


@pytest.mark.parametrize("story", [BLOCKING, ASYNCIO], ids=["blocking", "asyncio"])
def test_a_process_told_to_stop_closes_its_sessions(server: RecordingGovernance, story: str) -> None:
    """SIGTERM unwinds the block, and the status is what shells expect."""
    program = Story(story, server.target)
    assert program.reads() == "working"
    program.stop()
    assert program.ends() == (143, "")
    assert server.reasons("CloseSession") == ["told to stop: SIGTERM"]


def test_concurrent_asyncio_sessions_are_all_closed(server: RecordingGovernance) -> None:
    """Each task unwinds its own."""
    story = """
        async def work(ready):
            async with agovernance.session(**SESSION):
                ready.set()
                await asyncio.sleep(60)
        async def main():
            ready = [asyncio.Event() for _ in range(5)]
            async with asyncio.TaskGroup() as group:
                for event in ready:
                    group.create_task(work(event))
                for event in ready:
                    await event.wait()
                print("working", flush=True)
        asyncio.run(main())
    """
    program = Story(story, server.target)
    assert program.reads() == "working"
    program.stop()
    assert program.ends() == (143, "")
    assert len(server.reasons("CloseSession")) == 5


def test_sessions_of_threads_are_closed_at_the_end(server: RecordingGovernance) -> None:
    """A daemon thread is not unwound when its process ends."""
    story = """
        def work():
            with governance.session(**SESSION):
                working.set()
                time.sleep(60)
        working = threading.Event()
        threading.Thread(target=work, daemon=True).start()
        working.wait()
    """
    assert Story(story, server.target).ends() == (0, "")
    assert server.reasons("CloseSession") == ["the process has ended"]


def test_the_end_does_not_wait_for_each_session(server: RecordingGovernance) -> None:
    """When nobody answers the first, nobody asks for the others."""
    story = """
        def work():
            with governance.session(**SESSION):
                working.release()
                time.sleep(60)
        working = threading.Semaphore(0)
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        for _ in range(3):
            working.acquire()
    """
    server.fail("CloseSession", INTERNAL, "the disk is full", times=3)
    status, printed = Story(story, server.target).ends()
    assert (status, printed.count("could not be closed")) == (0, 1)
    assert len(server.reasons("CloseSession")) == 1


def test_an_applications_own_handler_is_obeyed(server: RecordingGovernance) -> None:
    """It decides how the process stops; the session ends with its block."""
    story = """
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        with governance.session(**SESSION):
            print("working", flush=True)
            stop.wait()
    """
    program = Story(story, server.target)
    assert program.reads() == "working"
    program.stop()
    assert program.ends() == (0, "")
    assert server.reasons("CloseSession") == ["the work is done"]


def test_a_child_closes_nothing_of_its_parents(server: RecordingGovernance) -> None:
    """However it ends: by unwinding, or terminated as children are by default."""
    story = """
        def is_child():
            with governance.session(**SESSION):
                forking = multiprocessing.get_context("fork")
                children = [forking.Process(target=time.sleep, args=(60,)) for _ in range(8)]
                for child in children:
                    child.start()
                    child.terminate()  # at once: some are told before Python has set them up
                for child in children:
                    child.join()
                print({child.exitcode for child in children}, flush=True)
                if os.fork() == 0:
                    return True
                os.wait()
                print("still working", flush=True)
            return False
        if is_child():
            os._exit(0)
    """
    program = Story(story, server.target)
    assert program.ends() == (0, "{-15}\nstill working\n")
    assert server.reasons("CloseSession") == ["the work is done"]


def test_stopped_while_opening_it_closes_what_may_be_open(server: RecordingGovernance) -> None:
    """The answer to the opening never came."""
    server.hold("OpenSession")
    program = Story(BLOCKING, server.target)
    server.wait_for("OpenSession")
    program.stop()
    assert program.ends() == (143, "")
    assert server.reasons("CloseSession") == ["the opening was not completed"]


def test_a_session_that_opens_late_is_closed_all_the_same(governance: Governance, server: RecordingGovernance) -> None:
    """Its closing overtook its opening: sent again under its key it is opened once, and closed then."""
    server.fail("OpenSession", INTERNAL, "who knows")
    server.refuse("CloseSession", "NOT_FOUND", "it is not known", "open it", "session:s-1")
    with pytest.raises(GovernanceUnavailable), governance.session(**SESSION):
        pytest.fail("the block ran")
    assert server.methods() == ["OpenSession", "CloseSession"] * 2
    assert server.asked[0].request == server.asked[2].request
    assert server.reasons("CloseSession") == ["the opening was not completed"] * 2


async def test_an_asyncio_session_that_opens_late_is_closed_all_the_same(
    server: RecordingGovernance, caplog: pytest.LogCaptureFixture
) -> None:
    """As a blocking one; if it is refused then, nothing was opened, and nothing is to be said."""
    async with AsyncGovernance(server.target) as governance:
        for _ in range(2):
            server.fail("OpenSession", INTERNAL, "who knows")
            server.refuse("CloseSession", "NOT_FOUND", "it is not known", "open it", "session:s-1")
            with pytest.raises(GovernanceUnavailable):
                await governance.session(**SESSION).__aenter__()
            server.fail("OpenSession", INTERNAL, "who knows")
            server.refuse("OpenSession", "APPROVAL_REQUIRED", "no approval", "request one", "policy:production")
            server.refuse("CloseSession", "NOT_FOUND", "it is not known", "open it", "session:s-1")
            with pytest.raises(GovernanceUnavailable):
                await governance.session(**SESSION).__aenter__()
    calls = ["OpenSession", "CloseSession", "OpenSession"]
    assert (server.methods(), caplog.records) == ([*calls, "CloseSession", *calls] * 2, [])
