"""Emergencies: break-glass is taken by one person, at once, loudly, for a short while, and reviewed after.

Rule 1: only where policies say so: every one that asks for an approval in the scope must take one of kind
`break_glass`, and at least one must.
Rule 2: it sheds nothing else. The session is judged like any other: its identity, task, entitlement, scope and caps,
and whether an earlier emergency still waits for its review.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from pdp.core.model import AnyFact, Approval, ApprovalKind, ApprovalState, Duration, Instant, Put, Session, Task
from pdp.core.policy.rules import Limit, Rules
from pdp.core.reasons import Code
from pdp.core.scope import is_pattern
from pdp.core.standing import End, latest_end
from pdp.core.wording import duration_text, whole_seconds
from pdp.governance.commands import TakeBreakGlass
from pdp.governance.refusal import Refusal, Refused, Rule
from pdp.governance.rules.basis import against_proposal
from pdp.governance.rules.caps import asked_of
from pdp.governance.rules.preconditions import against_taken
from pdp.governance.rules.subjects import against_asking, against_identity
from pdp.governance.rules.windows import DEFAULT_BREAK_GLASS_TTL, DEFAULT_REVIEW_WITHIN
from pdp.governance.view import Plan, View

_DEFAULT_CAP = Limit(DEFAULT_BREAK_GLASS_TTL, "")


def take_break_glass(command: TakeBreakGlass, view: View) -> Plan | Refused:
    """Act in an emergency without consent beforehand: approval, session and, if need be, task in one step."""
    rules = asked_of(command.actions, command.resources, view)
    against = (*against_asking(command.identity, view), *_against_breaking(command, rules))
    if against:
        return Refused(against)
    task = _task(command, view)
    session, cap = _session(command, task, view), rules.break_glass_ttl or _DEFAULT_CAP
    latest = _latest_end(session, cap, view)
    end = min(view.now + DEFAULT_BREAK_GLASS_TTL, latest.at) if command.ttl is None else view.now + command.ttl
    # With the end that is allowed, so that what stands against the session is told apart from its length.
    session = replace(session, expires_at=Instant(max(min(end, latest.at), view.now + 1)))
    approval = _approval(command, session, rules, view)
    against = (*_against_taking(approval, session, task, view), *_against_end(end, latest, view))
    if against:
        return Refused(against)
    new = [] if view.task(task.id) is not None else [Put(task)]
    return view.plan(Put(approval), Put(session), *new)


def _against_breaking(command: TakeBreakGlass, rules: Rules) -> Iterator[Refusal]:
    """Refuse where no policy asks for an approval at all, and where one asks for another kind."""
    remedy = "open a session, and request an approval where it asks for one"
    if not rules.approvals:
        resources = "`, `".join(command.resources.patterns)
        message = f"no policy permits to break glass on `{resources}`"
        yield Refusal(Rule.BREAK_GLASS_NOT_PERMITTED, message, remedy)
    for one in rules.approvals:
        if ApprovalKind.BREAK_GLASS not in one.kinds:
            message = f"policy `{one.policy}` does not permit to break glass"
            yield Refusal(Rule.BREAK_GLASS_NOT_PERMITTED, message, "request an approval", f"policy:{one.policy}")


def _task(command: TakeBreakGlass, view: View) -> Task:
    """Return the task named, else the one of the incident's name; one of one's own if there is none yet."""
    id_ = command.task or command.incident
    return view.task(id_) or Task(id=id_, owner=view.actor.name)


def _session(command: TakeBreakGlass, task: Task, view: View) -> Session:
    return Session(
        id=command.id,
        identity=command.identity,
        task=task.id,
        entitlement=command.entitlement,
        approval=command.id,
        actions=command.actions,
        resources=command.resources,
        not_before=view.now,
        expires_at=view.now,
        opened_by=view.actor.name,
    )


def _approval(command: TakeBreakGlass, session: Session, rules: Rules, view: View) -> Approval:
    within = DEFAULT_REVIEW_WITHIN if rules.review_within is None else Duration(rules.review_within.bound)
    return Approval(
        id=command.id,
        kind=ApprovalKind.BREAK_GLASS,
        state=ApprovalState.APPROVED,
        identity=command.identity,
        ticket=command.incident,
        justification=view.reason,
        requested_by=view.actor.name,
        approved_by=view.actor.name,
        actions=command.actions,
        resources=command.resources,
        not_before=session.not_before,
        expires_at=session.expires_at,
        review_due=Instant(view.now + within),
    )


def _latest_end(session: Session, cap: Limit, view: View) -> End:
    """Return until when the emergency may last, and who says so; the approval is as long as the session."""
    own = End(Instant(view.now + cap.bound), f"policy:{cap.policy}" if cap.policy else "")
    return min(own, latest_end(replace(session, approval=""), view.snapshot))


def _against_taking(approval: Approval, session: Session, task: Task, view: View) -> Iterator[Refusal]:
    yield from against_taken(view.approval(approval.id))
    yield from against_taken(view.session(session.id))
    if is_pattern(session.identity):
        yield from against_identity(session.identity, view)
        return
    also: tuple[AnyFact, ...] = (approval, task)
    yield from against_proposal(session, view, also)


def _against_end(end: int, latest: End, view: View) -> Iterator[Refusal]:
    if end > latest.at > view.now:
        allowed = duration_text(whole_seconds(latest.at - view.now))
        kind, _, id_ = latest.about.partition(":")
        who = f"{kind} `{id_}` allows" if kind else "without a policy that says otherwise it is"
        message = f"the emergency would last {duration_text(end - view.now)}, {who} {allowed}"
        yield Refusal(Code.POLICY_LIMIT, message, f"ask for at most {allowed}", latest.about)
