"""Sessions: opened just in time, prolonged within their caps, narrowed, closed, delegated.

Rule 1: a session is opened only if a decision under it could allow, in all of its scope, from its first instant on.
Rule 2: no command moves an end beyond what the session rests on; what needs longer is asked for again.
Rule 3: what has ended is not revived.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from pdp.core.checks.conditions import same
from pdp.core.model import ApprovalKind, Duration, FactKind, Instant, Put, Session, SessionState
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, ResourceScope, is_pattern
from pdp.core.standing import End, latest_end
from pdp.core.wording import duration_text, second_text, whole_seconds
from pdp.governance.commands import CloseSession, DelegateSession, NarrowSession, OpenSession, RenewSession
from pdp.governance.refusal import Refusal, Refused, Rule, refused
from pdp.governance.roles import Role
from pdp.governance.rules.basis import against_proposal, against_standing, lineage
from pdp.governance.rules.narrowing import REMEDY, against_no_change, against_wider_scope, narrowed
from pdp.governance.rules.preconditions import against_taken, in_state, unknown
from pdp.governance.rules.subjects import against_asking, against_identity
from pdp.governance.rules.windows import DEFAULT_TTL
from pdp.governance.view import Plan, View

_OPEN_ANEW = "ask again: open a new session"


def open_session(command: OpenSession, view: View) -> Plan | Refused:
    """Open a session for an identity of the requester's, if all it rests on bears it."""
    not_yours = tuple(against_asking(command.identity, view))
    if not_yours:
        return Refused(not_yours)
    begin = max(view.now, command.not_before or view.now)  # what is opened begins now at the earliest
    return _opened(command, view, command.task, command.actions, command.resources, begin)


def delegate(command: DelegateSession, view: View) -> Plan | Refused:
    """Open a session of another identity within a live one; it ends with any session it was delegated by."""
    parent = view.session(command.parent)
    if parent is None:
        return unknown(FactKind.SESSION, command.parent)
    against = tuple(against_asking(parent.identity, view)) or (
        *against_standing(parent, view),
        *_against_another_task(command, parent, view),
    )
    if against:
        return Refused(against)
    task, begin = command.task or parent.task, max(view.now, parent.not_before)
    actions, resources = command.actions, command.resources
    return _opened(
        command,
        view,
        task,
        actions if actions.patterns else parent.actions,
        resources if resources.patterns else parent.resources,
        begin,
        parent.id,
    )


def renew(command: RenewSession, view: View) -> Plan | Refused:
    """Move the end of a live session later, within the caps that it was opened under and those there are now."""
    session = view.session(command.session_id)
    if session is None:
        return unknown(FactKind.SESSION, command.session_id)
    against = tuple(against_asking(session.identity, view)) or tuple(against_standing(session, view))
    if against:
        return Refused(against)
    begin, cap = max(view.now, session.not_before), latest_end(session, view.snapshot)
    end = _end(begin, command.ttl, cap)
    if end > cap.at or (command.ttl is None and cap.at <= session.expires_at):
        more = cap.at > session.expires_at
        return Refused((_beyond(session, cap, f"{_at_most(begin, cap)}, or {_OPEN_ANEW}" if more else _OPEN_ANEW),))
    if end <= session.expires_at:
        message = f"session `{session.id}` lasts until {second_text(session.expires_at)} already"
        remedy = "ask for a longer ttl, or narrow the session to end it sooner"
        return refused(Rule.ALREADY_EXISTS, message, remedy, f"session:{session.id}")
    return view.plan(Put(replace(session, expires_at=end)))


def narrow(command: NarrowSession, view: View) -> Plan | Refused:
    """Take from what an open session may do, and from its children with it; too few uses for those made end it."""
    session = view.session(command.session_id)
    if session is None:
        return unknown(FactKind.SESSION, command.session_id)
    not_yours = tuple(_against_taking_from(session, view))
    if not_yours:
        return Refused(not_yours)
    if session.state is not SessionState.OPEN:
        return in_state(session, "open a new session")
    after = _narrowed(command, session, view.now)
    against = tuple(_against_wider(command, session, after)) or tuple(against_no_change(session, after))
    return Refused(against) if against else view.plan(Put(after))


def close(command: CloseSession, view: View) -> Plan | Refused:
    """Close an open session; those delegated from it end with it."""
    session = view.session(command.session_id)
    if session is None:
        return unknown(FactKind.SESSION, command.session_id)
    not_yours = () if session.opened_by == view.actor.name else tuple(_against_taking_from(session, view))
    if not_yours:
        return Refused(not_yours)
    if session.state is not SessionState.OPEN:
        return in_state(session, "nothing needs to be done")
    return view.plan(Put(replace(session, state=SessionState.CLOSED)))


def _opened(
    command: OpenSession | DelegateSession,
    view: View,
    task: str,
    actions: ActionScope,
    resources: ResourceScope,
    begin: Instant,
    parent: str = "",
) -> Plan | Refused:
    session = Session(
        id=command.id,
        identity=command.identity,
        task=task,
        entitlement=command.entitlement,
        approval=command.approval,
        actions=actions,
        resources=resources,
        constraints=command.constraints,
        not_before=begin,
        expires_at=begin,
        idle_timeout=command.idle_timeout,
        max_uses=command.max_uses,
        parent=parent,
        opened_by=view.actor.name,
    )
    cap = latest_end(session, view.snapshot)
    end = _end(begin, command.ttl, cap)
    # With the end that is allowed, so that what stands against the session is told apart from its length.
    judged = replace(session, expires_at=max(min(end, cap.at), begin + 1))
    against = list(_against_opening(judged, view))
    if end > cap.at > begin:
        against.append(_beyond(session, cap, _at_most(begin, cap)))
    return Refused(tuple(against)) if against else view.plan(Put(replace(session, expires_at=end)))


def _against_opening(session: Session, view: View) -> Iterator[Refusal]:
    yield from against_taken(view.session(session.id))
    if is_pattern(session.identity):
        yield from against_identity(session.identity, view)
        return
    yield from _against_own_consent(session, view)
    yield from against_proposal(session, view)


def _against_own_consent(session: Session, view: View) -> Iterator[Refusal]:
    """Refuse who has consented to what would now be opened; an emergency is taken by one and reviewed after."""
    approval = view.approval(session.approval) if session.approval else None
    if approval is None or approval.kind is ApprovalKind.BREAK_GLASS:
        return
    if view.actor.name in {approval.approved_by, *(consent.by for consent in approval.consents)}:
        message = f"`{view.actor.name}` gave approval `{approval.id}`, which the session is to be opened under"
        yield Refusal(Rule.FOUR_EYES, message, "have somebody else open the session", f"approval:{approval.id}")


def _against_another_task(command: DelegateSession, parent: Session, view: View) -> Iterator[Refusal]:
    """Refuse a task that is no part of what the parent acts for; one that is not known is refused with the session."""
    tasks = [one.id for one in lineage(command.task, view)]
    if tasks and parent.task not in tasks:
        message = f"task `{command.task}` is no part of task `{parent.task}`, which session `{parent.id}` is for"
        remedy = f"delegate for task `{parent.task}` or one of its sub-tasks"
        yield Refusal(Code.TASK_MISMATCH, message, remedy, f"task:{command.task}")


def _end(begin: Instant, ttl: Duration | None, cap: End) -> Instant:
    """Return the end as asked for; if it was not, the latest that is given to who asks for none."""
    return Instant(min(begin + DEFAULT_TTL, cap.at) if ttl is None else begin + ttl)


def _beyond(session: Session, cap: End, remedy: str) -> Refusal:
    kind, _, id_ = cap.about.partition(":")
    message = f"{kind} `{id_}` lets session `{session.id}` last until {second_text(cap.at)} at most"
    return Refusal(Code.POLICY_LIMIT, message, remedy, cap.about)


def _at_most(begin: Instant, cap: End) -> str:
    return f"ask for at most {duration_text(whole_seconds(cap.at - begin))}"


def _against_taking_from(session: Session, view: View) -> Iterator[Refusal]:
    if Role.OPERATOR not in view.actor.roles:
        yield from against_asking(session.identity, view)


def _narrowed(command: NarrowSession, session: Session, now: Instant) -> Session:
    begin = max(now, session.not_before)
    return replace(
        session,
        actions=narrowed(command.actions, session.actions),
        resources=narrowed(command.resources, session.resources),
        constraints=session.constraints | command.constraints,
        expires_at=session.expires_at if command.ttl is None else Instant(begin + command.ttl),
        idle_timeout=session.idle_timeout if command.idle_timeout is None else command.idle_timeout,
        max_uses=session.max_uses if command.max_uses is None else command.max_uses,
    )


def _against_wider(command: NarrowSession, session: Session, after: Session) -> Iterator[Refusal]:
    yield from against_wider_scope("actions", command.actions, session, session.actions)
    yield from against_wider_scope("resources", command.resources, session, session.resources)
    yield from _against_higher("end", session, session.expires_at, after.expires_at)
    yield from _against_higher("idle timeout", session, session.idle_timeout, after.idle_timeout)
    yield from _against_higher("limit on uses", session, session.max_uses, after.max_uses)
    for name, values in command.constraints.items():
        allowed = session.constraints.get(name)
        if allowed is not None and not all(any(same(value, one) for one in allowed) for value in values):
            message = f"session `{session.id}` does not allow all those values of `context.{name}`"
            yield Refusal(Rule.NOT_NARROWER, message, "name only values that it allows", f"session:{session.id}")


def _against_higher(what: str, session: Session, before: int | None, after: int | None) -> Iterator[Refusal]:
    if before is not None and after is not None and after > before:
        message = f"the {what} of session `{session.id}` would be wider than it is"
        yield Refusal(Rule.NOT_NARROWER, message, REMEDY, f"session:{session.id}")
