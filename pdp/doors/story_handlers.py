"""A session's whole story in GovernanceService, free of any transport: who, for what, by whose consent, until when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec
from msgspec import Struct
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.case import Case
from pdp.core.model import FactKind, Identity, Instant, Request, Revocation, Session, Task
from pdp.core.reasons import Code
from pdp.core.snapshot import Revoked, Snapshot
from pdp.core.standing import standing
from pdp.core.wording import instant_text
from pdp.doors.call import Call
from pdp.doors.errors import NotFoundError, UnavailableError
from pdp.doors.fact_handlers import query_of
from pdp.doors.facts_wire import message_of
from pdp.doors.fields_wire import fill
from pdp.doors.fitting import PART_BYTES, that_fit
from pdp.doors.governing import Permit
from pdp.doors.looking_up import LookUps
from pdp.doors.usage_wire import fill_usage
from pdp.evidence.session_record import Pages, SessionRecord, session_record
from pdp.evidence.usage.usage_summary import UsageSummary
from pdp.governance.refusal import Refusal
from pdp.governance.rules.basis import refusals

_DECISIONS, _MOST_DECISIONS = 20, 100


class Usage(Protocol):
    """What was used, as far as a story needs it; waits for the disk, so it is asked from a thread."""

    def used_by(self, kind: FactKind, id_: str) -> UsageSummary:
        """Return all uses of one session; raise UsageUnavailableError if they cannot be told."""


class _Wanted(Struct, frozen=True):
    """The session that DescribeSession asks for."""

    session_id: str
    decisions: int = _DECISIONS


class StoryHandlers:
    """The method that tells a session's story."""

    def __init__(self, snapshot: Snapshot, now: Callable[[], Instant], usage: Usage, records: Pages) -> None:
        """`now` is decision time."""
        self._snapshot = snapshot
        self._now = now
        self._usage = usage
        self._records = records
        self._look_ups = LookUps()

    async def describe_session(
        self, message: pb.DescribeSessionRequest, call: Call, _: Permit
    ) -> pb.DescribeSessionResponse:
        """Tell all there is to a session: facts, uses, changes, decisions, and why it has ended, if it has."""
        wanted = query_of(message, _Wanted)
        session = self._snapshot.sessions.get(wanted.session_id)
        if session is None:
            text = f"session `{wanted.session_id}` is not known"
            raise NotFoundError(text)
        decisions = min(wanted.decisions, _MOST_DECISIONS)
        used, record = await self._look_ups.run(call, lambda: self._look_up(session, decisions))
        response = self._facts(self._snapshot.sessions.get(session.id, session))
        fill_usage(response.usage, used)
        fill(response, record)
        return response

    def _look_up(self, session: Session, decisions: int) -> tuple[UsageSummary, SessionRecord]:
        used = self._usage.used_by(FactKind.SESSION, session.id)
        try:
            return used, session_record(self._records, session, decisions)
        except msgspec.DecodeError as error:
            text = f"the journal cannot be read: {error}"
            raise UnavailableError(text) from error

    def _facts(self, session: Session) -> pb.DescribeSessionResponse:
        """Return what is in force, all of one revision."""
        snapshot, now = self._snapshot, self._now()
        case = Case(Request(session.identity, "", "", session=session.id), snapshot, now)
        response = pb.DescribeSessionResponse(
            session=message_of(session).session,
            ancestors=that_fit((message_of(one).session for one in case.ancestors), PART_BYTES),
            revocations=that_fit((message_of(one).revocation for one in _revocations(case, snapshot)), PART_BYTES),
            end=[_message(one) for one in _end(session, snapshot, now)],
            revision=snapshot.revision,
        )
        for kind in (FactKind.IDENTITY, FactKind.TASK, FactKind.ENTITLEMENT, FactKind.APPROVAL):
            fact = getattr(case, kind.value)
            if fact is not None:
                getattr(response, kind.value).CopyFrom(getattr(message_of(fact), kind.value))
        return response


def _end(session: Session, snapshot: Snapshot, now: Instant) -> Iterator[Refusal]:
    """Yield why nothing is allowed under the session, any more or yet."""
    if now < session.not_before:
        begins = instant_text(session.not_before)
        message = f"session `{session.id}` begins at {begins}"
        yield Refusal(Code.SESSION_NOT_STARTED, message, "wait for the session to start", f"session:{session.id}")
    yield from refusals(standing(session, snapshot, now))


def _revocations(case: Case, snapshot: Snapshot) -> list[Revocation]:
    """Return the revocations of the session, its ancestors and what they rest on, in the order they begin."""
    found = {one.id: one for one in _revocations_of(case, snapshot)}
    for ancestor in case.ancestors:
        found |= {one.id: one for one in _revocations_of(Case.of_ancestor(case, ancestor), snapshot)}
    return sorted(found.values(), key=lambda one: (one.effective_at, one.id))


def _revocations_of(case: Case, snapshot: Snapshot) -> Iterator[Revocation]:
    session, identity = case.session, case.identity
    yield from _of(snapshot.revoked_sessions, [session.id])
    yield from _of(snapshot.revoked_identities, _names_of(session, identity, snapshot))
    yield from _of(snapshot.revoked_owners, [] if identity is None else [identity.owner])
    yield from _of(snapshot.revoked_tasks, _ids_of(session, case.tasks))
    yield from _of(snapshot.revoked_entitlements, [session.entitlement])
    yield from _of(snapshot.revoked_approvals, [session.approval])


def _names_of(session: Session, identity: Identity | None, snapshot: Snapshot) -> Iterable[str]:
    """Return what a revocation may call the identity: itself, its record, or any family it is in."""
    record = session.identity if identity is None else identity.id
    return dict.fromkeys((session.identity, record, *snapshot.revocation_families.covering(session.identity)))


def _ids_of(session: Session, tasks: Iterable[Task]) -> Iterable[str]:
    return dict.fromkeys((session.task, *(task.id for task in tasks)))


def _of(revoked: Revoked, ids: Iterable[str]) -> Iterator[Revocation]:
    for id_ in ids:
        yield from revoked.get(id_, ())


def _message(refusal: Refusal) -> pb.Refusal:
    return pb.Refusal(rule=refusal.rule, message=refusal.message, remedy=refusal.remedy, about=refusal.about)
