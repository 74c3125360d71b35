"""Sessions that live as long as a `with` block: access just in time, which ends with the work.

Rule 1: what was opened is closed, however the block ends; what may have been opened too.
Rule 2: an error of the block wins over one of the closing, which is then logged.
Rule 3: a child process closes nothing of its parent's.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import uuid
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from sessionpdp.decision import instant
from sessionpdp.refusals import CommandRefused, GovernanceError, GovernanceUnavailable, InvalidCommand
from sessionpdp.stopping import SIGTERM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Self

    from sessionpdp.async_governance import AsyncGovernance
    from sessionpdp.commands import Change, DelegateSessionFields, NarrowSessionFields
    from sessionpdp.decision import Decision
    from sessionpdp.governance import Governance
    from sessionpdp.guard import AsyncChecker, Checker
    from sessionpdp.request import Action, Attributes, Credential, Resource
    from sessionpdp.v1 import facts_pb2

_log = logging.getLogger("sessionpdp")

_NOT_CLOSED: Final = "session `%s` could not be closed: %s"
_DONE: Final = "the work is done"
_NEVER_BEGUN: Final = "the opening was not completed"
_TOLD_TO_STOP: Final = "told to stop: {}"
_LEFT_OPEN: Final = "the process has ended"


# Rules by which a sidecar refuses to close what is closed, or was never opened; codes of sessions say the same.
_ENDED: Final = frozenset({"WRONG_STATE", "NOT_FOUND"})


class CircumstanceFields(TypedDict, total=False):
    """What a check within a session may still say, as in `Check`."""

    context: Attributes | None
    credential: Credential | None
    request_id: str
    traceparent: str
    timeout: float | None


class SessionRecord:
    """What is known of one session: its id, its end, and the revision that a check of it must have seen."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        if fields.get("dry_run"):
            msg = "`dry_run` opens no session: use `open_session` or `delegate_session`"
            raise InvalidCommand(msg)
        # Made here if need be, so that also a session whose opening was not answered can be closed.
        self._id_is_ours = not fields.get("id")
        self.id = str(fields.get("id") or uuid.uuid4())
        self.identity = str(fields.get("identity", ""))
        self.revision = 0
        key = fields.get("idempotency_key") or str(uuid.uuid4())
        self._fields = {**fields, "id": self.id, "idempotency_key": key}
        self._record: facts_pb2.Session | None = None
        self._process = 0
        self._holds = False

    @property
    def expires_at(self) -> datetime | None:
        """When it ends by itself, in UTC; None before it is open."""
        return None if self._record is None else instant(self._record.expires_at)

    def _begin(self) -> None:
        if self._process:
            msg = f"session `{self.id}` has been opened before: make another"
            raise RuntimeError(msg)
        self._process = os.getpid()
        self._holds = SIGTERM.hold()

    def _leave(self) -> None:
        if self._holds:
            self._holds = False
            SIGTERM.release()

    @property
    def _is_of_this_process(self) -> bool:
        return self._process == os.getpid()

    def _note(self, change: Change) -> Change:
        self.revision = max(self.revision, change.revision)
        for fact in change.facts:
            if change.revision and fact.WhichOneof("fact") == "session" and fact.session.id == self.id:
                self._record = fact.session
        return change

    @property
    def _fields_again(self) -> Mapping[str, object]:
        """What opens it again under its key; whatever was left of the first opening's time is over."""
        return {**self._fields, "timeout": None}

    def _may_be_open_after(self, error: BaseException) -> bool:
        """Tell whether an opening that failed may have happened; an id of the caller's may be another session's."""
        answered = isinstance(error, GovernanceError) and not isinstance(error, GovernanceUnavailable)
        return self._id_is_ours and not answered


class GovernedSession(SessionRecord):
    """A session that its `with` block opens and closes."""

    def __init__(
        self,
        governance: Governance,
        left_open: OpenSessions,
        opening: Callable[..., Change],
        fields: Mapping[str, object],
    ) -> None:
        """Take how it is opened; `Governance.session` and `delegate` do this."""
        super().__init__(fields)
        self._governance = governance
        self._left_open = left_open
        self._opening = opening

    def __enter__(self) -> Self:
        """Open it; raise `CommandRefused` where a rule stands against that."""
        self._begin()
        self._left_open.add(self)
        try:
            self._note(self._opening(**self._fields))
        except BaseException as error:
            try:
                self._give_up(error)
            finally:
                self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; raise what went wrong unless the block raised."""
        if not self._is_of_this_process:
            return
        try:
            if error is None:
                self._close(_DONE)
            else:
                self._close_or_log(_failed(error))
        finally:
            self._leave()

    def renew(self, *, ttl: timedelta | None = None) -> Change:
        """Move its end to `ttl` from now; None: as far as all it rests on allows."""
        return self._note(self._governance.renew_session(self.id, ttl=ttl))

    def narrow(self, **fields: Unpack[NarrowSessionFields]) -> Change:
        """Take from what it may do."""
        return self._note(self._governance.narrow_session(self.id, **fields))

    def delegate(self, **fields: Unpack[DelegateSessionFields]) -> GovernedSession:
        """Return a session of another identity within this one, for a `with` block of its own."""
        delegation: dict[str, object] = {**fields, "parent": self.id}
        return GovernedSession(self._governance, self._left_open, self._governance.delegate_session, delegation)

    def on(self, pdp: Checker) -> SessionChecks:
        """Return how to check what is done within this session."""
        return SessionChecks(self, pdp)

    def close_left_open(self) -> bool:
        """Close it at the end of the process, without raising; tell whether it makes sense to close others."""
        return not self._is_of_this_process or self._close_or_log(_LEFT_OPEN)

    def _give_up(self, error: BaseException) -> None:
        if self._may_be_open_after(error):
            self._close_or_log(_NEVER_BEGUN)
        else:
            self._left_open.discard(self)

    def _close(self, reason: str) -> None:
        try:
            self._note(self._governance.close_session(self.id, reason=reason))
        except GovernanceError as error:
            if _is_overtaken(error, reason):
                self._open_and_close()
            self._left_open.discard(self)  # tried, and said: only an attempt that was interrupted is worth another
            if not _had_ended(error):
                raise
        self._left_open.discard(self)

    def _open_and_close(self) -> None:
        # The opening may be on its way still. Under its key it is carried out once, and there is something to close.
        with contextlib.suppress(CommandRefused):
            self._opening(**self._fields_again)
            self._governance.close_session(self.id, reason=_NEVER_BEGUN)

    def _close_or_log(self, reason: str) -> bool:
        try:
            self._close(reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, rule 2 holds
            _log.error(_NOT_CLOSED, self.id, error)
            return not isinstance(error, GovernanceUnavailable)
        return True


class OpenSessions:
    """The sessions of one client that are open, or may be: closed when the process ends around their blocks."""

    def __init__(self) -> None:
        self._sessions: set[GovernedSession] = set()
        self._registered = False

    def add(self, session: GovernedSession) -> None:
        """Take charge of a session."""
        if not self._registered:
            self._registered = True
            # Only now: what is registered last runs first, hence before the end of what gRPC registered.
            atexit.register(self._close_all)
        self._sessions.add(session)

    def discard(self, session: GovernedSession) -> None:
        """Forget a session that is closed."""
        self._sessions.discard(session)

    def _close_all(self) -> None:
        for session in list(self._sessions):
            if not session.close_left_open():
                return  # nobody answers, and each of the others would wait for that


class AsyncGovernedSession(SessionRecord):
    """A session that its `async with` block opens and closes."""

    def __init__(
        self,
        governance: AsyncGovernance,
        opening: Callable[..., Awaitable[Change]],
        fields: Mapping[str, object],
    ) -> None:
        """Take how it is opened; `AsyncGovernance.session` and `delegate` do this."""
        super().__init__(fields)
        self._governance = governance
        self._opening = opening

    async def __aenter__(self) -> Self:
        """Open it; raise `CommandRefused` where a rule stands against that."""
        self._begin()
        try:
            self._note(await self._opening(**self._fields))
        except BaseException as error:
            try:
                if self._may_be_open_after(error):
                    await self._close_or_log(_NEVER_BEGUN)
            finally:
                self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; raise what went wrong unless the block raised."""
        if not self._is_of_this_process:
            return
        try:
            if error is None:
                await self._close(_DONE)
            else:
                await self._close_or_log(_failed(error))
        finally:
            self._leave()

    async def renew(self, *, ttl: timedelta | None = None) -> Change:
        """Move its end, as `GovernedSession.renew` does."""
        return self._note(await self._governance.renew_session(self.id, ttl=ttl))

    async def narrow(self, **fields: Unpack[NarrowSessionFields]) -> Change:
        """Take from what it may do."""
        return self._note(await self._governance.narrow_session(self.id, **fields))

    def delegate(self, **fields: Unpack[DelegateSessionFields]) -> AsyncGovernedSession:
        """Return a session of another identity within this one, for an `async with` block of its own."""
        delegation: dict[str, object] = {**fields, "parent": self.id}
        return AsyncGovernedSession(self._governance, self._governance.delegate_session, delegation)

    def on(self, pdp: AsyncChecker) -> AsyncSessionChecks:
        """Return how to check what is done within this session."""
        return AsyncSessionChecks(self, pdp)

    async def _close(self, reason: str) -> None:
        try:
            await self._close_once(reason)
        except asyncio.CancelledError:
            # Cancelled while closing, as all tasks are at the end of a loop: that comes once, so this is not cut short.
            await self._close_once(reason)
            raise

    async def _close_once(self, reason: str) -> None:
        try:
            self._note(await self._governance.close_session(self.id, reason=reason))
        except GovernanceError as error:
            if _is_overtaken(error, reason):
                await self._open_and_close()
            elif not _had_ended(error):
                raise

    async def _open_and_close(self) -> None:
        with contextlib.suppress(CommandRefused):  # as in `GovernedSession`
            await self._opening(**self._fields_again)
            await self._governance.close_session(self.id, reason=_NEVER_BEGUN)

    async def _close_or_log(self, reason: str) -> None:
        try:
            await self._close(reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, rule 2 holds
            _log.error(_NOT_CLOSED, self.id, error)


class SessionChecks:
    """Checks of what is done within a session, by its identity, on facts at least as new as the session."""

    def __init__(self, session: GovernedSession, pdp: Checker) -> None:
        """Take the session and whom to ask."""
        self._session = session
        self._pdp = pdp

    def check(
        self, action: str | Action, resource: str | Resource, **circumstances: Unpack[CircumstanceFields]
    ) -> Decision:
        """Ask for one decision, as `PDP.check` does."""
        own = self._session
        return self._pdp.check(
            subject=own.identity,
            action=action,
            resource=resource,
            session=own.id,
            at_least_revision=own.revision,
            **circumstances,
        )


class AsyncSessionChecks:
    """Checks within a session, as `SessionChecks`."""

    def __init__(self, session: AsyncGovernedSession, pdp: AsyncChecker) -> None:
        """Take the session and whom to ask."""
        self._session = session
        self._pdp = pdp

    async def check(
        self, action: str | Action, resource: str | Resource, **circumstances: Unpack[CircumstanceFields]
    ) -> Decision:
        """Ask for one decision, as `AsyncPDP.check` does."""
        own = self._session
        return await self._pdp.check(
            subject=own.identity,
            action=action,
            resource=resource,
            session=own.id,
            at_least_revision=own.revision,
            **circumstances,
        )


def _had_ended(error: GovernanceError) -> bool:
    """Tell whether a session was not closed only because there is nothing left to close."""
    return isinstance(error, CommandRefused) and (error.rule in _ENDED or error.rule.startswith("SESSION_"))


def _is_overtaken(error: GovernanceError, reason: str) -> bool:
    """Tell whether a closing may have come before the opening that was not answered."""
    return reason == _NEVER_BEGUN and isinstance(error, CommandRefused) and error.rule == "NOT_FOUND"


def _failed(error: BaseException) -> str:
    # To the tasks of a loop that SIGTERM ends, it is a cancellation.
    if isinstance(error, SystemExit | asyncio.CancelledError) and SIGTERM.in_progress:
        return _TOLD_TO_STOP.format("SIGTERM")
    if isinstance(error, KeyboardInterrupt):
        return _TOLD_TO_STOP.format("SIGINT")
    return f"the work failed: {type(error).__name__}"
