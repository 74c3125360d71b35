"""A session's whole story as people read it: who, for what, by whose consent, what was done, and why it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from rich.console import Group
from rich.padding import Padding
from rich.text import Text
from sessionpdp.v1 import facts_pb2, reasons_pb2
from sessionpdp.v1 import governance_pb2 as pb

from pdp.cli.decision_view import ALLOW, DENY, FAINT, quoted, rows
from pdp.cli.fact_list_view import revocation_state
from pdp.cli.fact_view import consent_text, fact_rows, instant_and_distance, moment_of
from pdp.cli.facts_read import fact_of_message
from pdp.cli.times import time_text
from pdp.cli.usage_view import usage_view
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    Entitlement,
    Identity,
    Instant,
    Revocation,
    Session,
    SessionState,
    Task,
)

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from rich.console import RenderableType

_Row = tuple[str, "RenderableType"]
_TOLD_ELSEWHERE = frozenset({"id", "identity", "task", "entitlement", "approval", "state"})


def story_view(story: pb.DescribeSessionResponse) -> RenderableType:
    """Return the story."""
    session = cast("Session", fact_of_message(facts_pb2.Fact(session=story.session)))
    return Group(*_outcome(session, story), rows(_who(session, story)), Text(), rows(_what(story)))


def _outcome(session: Session, story: pb.DescribeSessionResponse) -> Iterator[RenderableType]:
    """Yield whether anything is allowed under it now, and what stands against that."""
    word, style = ("ended", DENY) if story.end else ("live", ALLOW)
    if session.state is SessionState.OPEN and datetime.now(UTC) < moment_of(session.not_before):
        word, style = "not begun", "yellow"
    yield Text.assemble((f"{word:<6}", style), quoted(f"session `{session.id}`"))
    for one in story.end:
        yield Padding(Text.assemble((one.rule, style), "  ", quoted(one.message)), (0, 0, 0, 6))
        yield Padding(Text(one.remedy, style=FAINT), (0, 0, 0, 6))
    yield Text()


def _who(session: Session, story: pb.DescribeSessionResponse) -> Iterator[_Row]:
    """Yield what the session rests on, then its own fields."""
    for name, tell in _RESTS_ON.items():
        known = story.HasField(name)  # type: ignore[arg-type]  # one of its fields
        fact = fact_of_message(facts_pb2.Fact(**{name: getattr(story, name)})) if known else None
        id_ = getattr(session, name)
        if id_:
            yield name, Text(id_ if fact is not None else f"{id_}, which is not known")
        if fact is not None:
            yield from ((label, Text(text)) for label, text in tell(fact) if text)
    yield from (row for row in fact_rows(session) if row[0] not in _TOLD_ELSEWHERE)
    for ancestor in story.ancestors:
        yield "delegated by", Text(f"{ancestor.id} of {ancestor.identity}")


def _identity(identity: AnyFact) -> Iterator[tuple[str, str]]:
    if isinstance(identity, Identity):
        yield "", f"{identity.kind}, {identity.state}"
        yield "owner", identity.owner or "nobody"


def _task(task: AnyFact) -> Iterator[tuple[str, str]]:
    if isinstance(task, Task):
        yield "", ", ".join([task.state, *([f"owned by {task.owner}"] if task.owner else [])])


def _entitlement(entitlement: AnyFact) -> Iterator[tuple[str, str]]:
    if not isinstance(entitlement, Entitlement):
        return
    until = entitlement.certified_until
    yield (
        "",
        (
            "never certified"
            if until is None
            else f"certified by {entitlement.certified_by} until {instant_and_distance(until)}"
        ),
    )


def _approval(approval: AnyFact) -> Iterator[tuple[str, str]]:
    if not isinstance(approval, Approval):
        return
    emergency = "break-glass, " if approval.kind is ApprovalKind.BREAK_GLASS else ""
    yield "", f"{emergency}{approval.state}, until {instant_and_distance(approval.expires_at)}"
    yield "ticket", approval.ticket
    yield "requested by", approval.requested_by
    # Imported approvals may say who consented without when.
    yield "approved by", "\n".join(map(consent_text, approval.consents)) or approval.approved_by
    yield "because", approval.justification
    if approval.review_due is not None:
        yield "review due", instant_and_distance(approval.review_due)
    yield "reviewed by", approval.reviewed_by


_RESTS_ON: dict[str, Callable[[AnyFact], Iterator[tuple[str, str]]]] = {
    "identity": _identity,
    "task": _task,
    "approval": _approval,
    "entitlement": _entitlement,
}


def _what(story: pb.DescribeSessionResponse) -> Iterator[_Row]:
    """Yield what has happened."""
    yield "used", usage_view(story.usage)
    yield "decisions", Text(f"{story.allowed} allowed, {story.denied} denied")
    for decision in story.decisions:
        yield "", _decision(decision)
    for number, change in enumerate(story.changes):
        yield "" if number else "changes", _change(change)
    for number, message in enumerate(story.revocations):
        revocation = fact_of_message(facts_pb2.Fact(revocation=message))
        if isinstance(revocation, Revocation):
            yield "" if number else "revocations", _revocation(revocation)


def _decision(decision: pb.DecisionSummary) -> Text:
    word, style = ("allow", ALLOW) if decision.allowed else ("deny", DENY)
    code = reasons_pb2.ReasonCode.Name(decision.code).removeprefix("REASON_CODE_")
    what = f"  {decision.action} {decision.resource}"
    return Text.assemble((_time(decision.at), FAINT), "  ", (f"{word:<6}{code}", style), what)


def _change(change: pb.Change) -> Text:
    by = f" by {change.actor}" if change.actor else ""
    why = f"  ({change.reason})" if change.reason else ""
    what = f"  revision {change.revision}  {change.method or 'written'}{by}"
    return Text.assemble((_time(change.at), FAINT), what, (why, FAINT))


def _revocation(revocation: Revocation) -> Text:
    state, style = revocation_state(revocation, datetime.now(UTC))
    by = f" by {revocation.revoked_by}" if revocation.revoked_by else ""
    when = time_text(moment_of(revocation.effective_at))
    what = f"  {revocation.target} {revocation.target_id}{by}: {revocation.reason}"
    return Text.assemble((when, FAINT), "  ", (state, style), what)


def _time(stamp: Timestamp) -> str:
    return time_text(moment_of(Instant(stamp.ToNanoseconds())))
