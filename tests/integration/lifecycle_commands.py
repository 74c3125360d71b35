"""The commands of the lifecycle as they are meant, for the simple model: one function each.

Each takes the world, who asks, and the command's fields; it returns what the command changes, or None if it must be
refused. Roles stand in `ROLES`, apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.integration.lifecycle_model import (
    BREAK_GLASS,
    DAY,
    HOUR,
    LONGEST_CERTIFICATION,
    Actor,
    Approval,
    Effect,
    Entitlement,
    Identity,
    Revocation,
    Scope,
    Session,
    Task,
    World,
)

REQUESTER, APPROVER, OPERATOR, REVIEWER = "requester", "approver", "operator", "reviewer"
ROLES: Mapping[str, tuple[str, ...]] = {
    "register_identity": (OPERATOR,),
    "change_owner": (OPERATOR,),
    "suspend_identity": (OPERATOR,),
    "reinstate_identity": (OPERATOR,),
    "retire_identity": (OPERATOR,),
    "grant_entitlement": (OPERATOR,),
    "narrow_entitlement": (OPERATOR,),
    "certify_entitlement": (REVIEWER,),
    "remove_entitlement": (OPERATOR,),
    "request_approval": (REQUESTER,),
    "approve": (APPROVER,),
    "reject": (APPROVER,),
    "withdraw": (REQUESTER, OPERATOR),
    "take_break_glass": (REQUESTER,),
    "open_task": (REQUESTER, OPERATOR),
    "complete_task": (REQUESTER, OPERATOR),
    "cancel_task": (REQUESTER, OPERATOR),
    "open_session": (REQUESTER,),
    "renew_session": (REQUESTER,),
    "narrow_session": (REQUESTER, OPERATOR),
    "close_session": (REQUESTER, OPERATOR),
    "delegate_session": (REQUESTER,),
    "revoke": (OPERATOR, APPROVER, REVIEWER),
    "lift_revocation": (OPERATOR,),
    "keep_break_glass": (REVIEWER,),
}


def register_identity(world: World, actor: Actor, *, new_id: str, owner: str) -> Effect | None:
    """Make an identity known."""
    if new_id in world.identities or world.revoked("owner", owner, world.now):
        return None
    return lambda: world.identities.update({new_id: Identity(owner)})


def change_owner(world: World, actor: Actor, *, identity_id: str, owner: str) -> Effect | None:
    """Have somebody else answer for an identity."""
    known = world.identities.get(identity_id)
    if known is None or known.state == "retired" or known.owner == owner or world.revoked("owner", owner, world.now):
        return None
    return lambda: setattr(known, "owner", owner)


def suspend_identity(world: World, actor: Actor, *, identity_id: str) -> Effect | None:
    """Stop an identity for now."""
    return _moved(world.identities.get(identity_id), "active", "suspended")


def reinstate_identity(world: World, actor: Actor, *, identity_id: str) -> Effect | None:
    """Let it act again."""
    return _moved(world.identities.get(identity_id), "suspended", "active")


def retire_identity(world: World, actor: Actor, *, identity_id: str) -> Effect | None:
    """End an identity, its sessions and its approvals that time has not ended."""
    known = world.identities.get(identity_id)
    if known is None or known.state == "retired":
        return None

    def effect() -> None:
        known.state = "retired"
        for session in world.sessions.values():
            if session.identity == identity_id and session.state == "open" and world.now < session.end:
                session.state = "closed"
        for approval in world.approvals.values():
            standing = approval.state in ("pending", "approved") and world.now < approval.end
            if approval.identity == identity_id and standing:
                approval.state = "withdrawn"

    return effect


def grant_entitlement(
    world: World, actor: Actor, *, new_id: str, identity: str, scope: Scope, max_session_ttl: int | None
) -> Effect | None:
    """Make an identity eligible, once that is certified."""
    known = world.identities.get(identity)
    if new_id in world.entitlements or known is None or known.state == "retired":
        return None
    granted = Entitlement(identity, scope, max_session_ttl, actor.name)
    return lambda: world.entitlements.update({new_id: granted})


def narrow_entitlement(
    world: World, actor: Actor, *, entitlement_id: str, scope: Scope, max_session_ttl: int | None
) -> Effect | None:
    """Take from an entitlement."""
    known = world.entitlements.get(entitlement_id)
    if known is None or not scope.inside(known.scope):
        return None
    if max_session_ttl is not None and known.max_ttl is not None and max_session_ttl > known.max_ttl:
        return None
    ttl = known.max_ttl if max_session_ttl is None else max_session_ttl
    if (scope, ttl) == (known.scope, known.max_ttl):
        return None
    return lambda: known.__dict__.update(scope=scope, max_ttl=ttl)


def certify_entitlement(world: World, actor: Actor, *, entitlement_id: str, until: int) -> Effect | None:
    """Say that an entitlement is to persist."""
    known = world.entitlements.get(entitlement_id)
    if known is None or world.tied(actor, world.people_of_entitlement(entitlement_id)):
        return None
    if not world.now < until <= world.now + LONGEST_CERTIFICATION:
        return None
    return lambda: setattr(known, "certified_until", until)


def remove_entitlement(world: World, actor: Actor, *, entitlement_id: str) -> Effect | None:
    """Take an entitlement away."""
    return (lambda: world.entitlements.__delitem__(entitlement_id)) if entitlement_id in world.entitlements else None


def request_approval(
    world: World,
    actor: Actor,
    *,
    new_id: str,
    identity: str,
    scope: Scope,
    not_before: int | None,
    ttl: int | None,
    max_uses: int | None,
) -> Effect | None:
    """Ask for consent."""
    begin = world.now if not_before is None else not_before
    asked = world.meeting(scope)
    caps = [one.approval_ttl for one in asked if one.approval_ttl is not None]
    end = begin + (min([HOUR, *caps]) if ttl is None else ttl)
    if not actor.asks_for(identity) or new_id in world.approvals or not world.able(identity, world.now):
        return None
    if any(one.kinds and "standard" not in one.kinds for one in asked):
        return None
    if end <= world.now or end - begin > min(caps, default=1 << 62):
        return None
    approval = Approval(identity, scope, begin, end, max_uses, actor.name)
    return lambda: world.approvals.update({new_id: approval})


def approve(world: World, actor: Actor, *, approval_id: str) -> Effect | None:
    """Consent."""
    known = world.approvals.get(approval_id)
    if known is None or known.state != "pending" or known.end <= world.now:
        return None
    if world.revoked("approval", approval_id, world.now) or actor.name in known.consents:
        return None
    if world.tied(actor, world.people_of_approval(approval_id)):
        return None
    asked = [one for one in world.meeting(known.scope) if one.kinds]
    naming = [one.groups for one in asked if one.groups]
    if naming and not any(groups & actor.groups for groups in naming):
        return None

    def effect() -> None:
        known.consents[actor.name] = actor.groups
        if all(world.enough(known, one) for one in asked):
            known.state = "approved"

    return effect


def reject(world: World, actor: Actor, *, approval_id: str) -> Effect | None:
    """Refuse consent."""
    known = world.approvals.get(approval_id)
    if known is None or actor.name == known.requested_by:
        return None
    return _moved(known, "pending", "rejected")


def withdraw(world: World, actor: Actor, *, approval_id: str) -> Effect | None:
    """Take back what was asked for."""
    known = world.approvals.get(approval_id)
    if known is None or (actor.name != known.requested_by and OPERATOR not in actor.roles):
        return None
    return _moved(known, known.state, "withdrawn") if known.state in ("pending", "approved") else None


def take_break_glass(
    world: World,
    actor: Actor,
    *,
    new_id: str,
    identity: str,
    entitlement: str,
    scope: Scope,
    incident: str,
    ttl: int | None,
) -> Effect | None:
    """Act in an emergency."""
    now, asked = world.now, world.meeting(scope)
    requiring = [one for one in asked if one.kinds]
    if not actor.asks_for(identity) or not requiring or any(BREAK_GLASS not in one.kinds for one in requiring):
        return None
    if new_id in world.approvals or new_id in world.sessions:
        return None
    task = world.tasks.get(incident) or Task(actor.name, "")
    session = Session(new_id, identity, incident, entitlement, new_id, scope, now, now, None, None, actor.name)
    cap = min((one.break_glass_ttl for one in asked if one.break_glass_ttl is not None), default=HOUR)
    latest = min(now + cap, world.latest_end(replace(session, approval="")))
    end = min(now + HOUR, latest) if ttl is None else now + ttl
    review = now + min((one.review_within for one in asked if one.review_within is not None), default=DAY)
    approval = Approval(identity, scope, now, end, None, actor.name, BREAK_GLASS, "approved", review_due=review)
    session = replace(session, end=end)
    then = world.copy(approvals={**world.approvals, new_id: approval}, tasks={**world.tasks, incident: task})
    if end > latest or not then.stands(session) or not then.contained(session):
        return None

    def effect() -> None:
        world.approvals[new_id], world.sessions[new_id] = approval, session
        world.tasks.setdefault(incident, task)

    return effect


def keep_break_glass(world: World, actor: Actor, *, approval_id: str) -> Effect | None:
    """Say that an emergency was right."""
    known = world.approvals.get(approval_id)
    if known is None or known.kind != BREAK_GLASS or known.reviewed_by:
        return None
    if world.tied(actor, world.people_of_approval(approval_id)):
        return None
    return lambda: setattr(known, "reviewed_by", actor.name)


def open_task(world: World, actor: Actor, *, new_id: str, owner: str, parent: str) -> Effect | None:
    """Begin work."""
    owner = owner or actor.name
    if new_id in world.tasks or not (OPERATOR in actor.roles or actor.stands_for(owner)):
        return None
    if parent and not world.going_on(parent, world.now):
        return None
    return lambda: world.tasks.update({new_id: Task(owner, parent)})


def complete_task(world: World, actor: Actor, *, task_id: str) -> Effect | None:
    """End work that is done."""
    return _ended(world, actor, task_id, "completed")


def cancel_task(world: World, actor: Actor, *, task_id: str) -> Effect | None:
    """End work that will not be done."""
    return _ended(world, actor, task_id, "cancelled")


def open_session(
    world: World,
    actor: Actor,
    *,
    new_id: str,
    identity: str,
    task: str,
    entitlement: str,
    approval: str,
    scope: Scope,
    not_before: int | None,
    ttl: int | None,
    idle_timeout: int | None,
    max_uses: int | None,
) -> Effect | None:
    """Begin access."""
    begin = max(world.now, not_before or 0)
    session = Session(
        new_id, identity, task, entitlement, approval, scope, begin, begin, idle_timeout, max_uses, actor.name
    )
    return _opened(world, actor, session, ttl) if actor.asks_for(identity) else None


def delegate_session(
    world: World,
    actor: Actor,
    *,
    new_id: str,
    parent: str,
    identity: str,
    entitlement: str,
    task: str,
    approval: str,
    scope: Scope | None,
    ttl: int | None,
    idle_timeout: int | None,
    max_uses: int | None,
) -> Effect | None:
    """Open a session of another within one's own."""
    held = world.sessions.get(parent)
    if held is None or not actor.asks_for(held.identity) or not world.stands(held):
        return None
    task, scope, begin = task or held.task, scope or held.scope, max(world.now, held.begin)
    session = Session(
        new_id, identity, task, entitlement, approval, scope, begin, begin, idle_timeout, max_uses, actor.name, parent
    )
    return _opened(world, actor, session, ttl)


def renew_session(world: World, actor: Actor, *, session_id: str, ttl: int | None) -> Effect | None:
    """Move a session's end later."""
    held = world.sessions.get(session_id)
    if held is None or not actor.asks_for(held.identity) or not world.stands(held):
        return None
    begin, cap = max(world.now, held.begin), world.latest_end(held)
    end = min(begin + HOUR, cap) if ttl is None else begin + ttl
    return (lambda: setattr(held, "end", end)) if held.end < end <= cap else None


def narrow_session(
    world: World,
    actor: Actor,
    *,
    session_id: str,
    scope: Scope | None,
    ttl: int | None,
    idle_timeout: int | None,
    max_uses: int | None,
) -> Effect | None:
    """Take from a session."""
    held = world.sessions.get(session_id)
    if held is None or held.state != "open" or not (OPERATOR in actor.roles or actor.asks_for(held.identity)):
        return None
    scope, end = scope or held.scope, held.end if ttl is None else max(world.now, held.begin) + ttl
    before, after = (held.idle, held.max_uses), (idle_timeout or held.idle, max_uses or held.max_uses)
    if not scope.inside(held.scope) or end > held.end:
        return None
    if any(old is not None and new is not None and new > old for old, new in zip(before, after, strict=True)):
        return None
    if (scope, end, after) == (held.scope, held.end, before):
        return None
    return lambda: held.__dict__.update(scope=scope, end=end, idle=after[0], max_uses=after[1])


def close_session(world: World, actor: Actor, *, session_id: str) -> Effect | None:
    """End a session."""
    held = world.sessions.get(session_id)
    if held is None:
        return None
    if not (OPERATOR in actor.roles or actor.asks_for(held.identity) or held.opened_by == actor.name):
        return None
    return _moved(held, "open", "closed")


def revoke(
    world: World,
    actor: Actor,
    *,
    new_id: str,
    target: str,
    target_id: str,
    effective_at: int | None,
    expires_at: int | None,
) -> Effect | None:
    """Override whatever is granted."""
    if new_id in world.revocations or (expires_at is not None and expires_at <= world.now):
        return None
    made = Revocation(target, target_id, world.now if effective_at is None else effective_at, expires_at, actor.name)
    return lambda: world.revocations.update({new_id: made})


def lift_revocation(world: World, actor: Actor, *, revocation_id: str) -> Effect | None:
    """Take back what somebody else has revoked."""
    known = world.revocations.get(revocation_id)
    if known is None or (known.expires_at is not None and known.expires_at <= world.now):
        return None
    if world.tied(actor, [known.revoked_by, *_people_of(world, known)]):
        return None
    return lambda: world.revocations.__delitem__(revocation_id)


def _people_of(world: World, revocation: Revocation) -> Iterator[str]:
    """Yield who would gain."""
    id_ = revocation.target_id
    match revocation.target:
        case "identity":
            yield from world.people_of_identity(id_)
        case "owner":
            yield id_
        case "session" if id_ in world.sessions:
            yield from world.people_of_session(id_)
        case "approval" if id_ in world.approvals:
            yield from world.people_of_approval(id_)
        case "entitlement" if id_ in world.entitlements:
            yield from world.people_of_entitlement(id_)
        case "task" if id_ in world.tasks:
            yield world.tasks[id_].owner


def _opened(world: World, actor: Actor, session: Session, ttl: int | None) -> Effect | None:
    begin, cap = session.begin, world.latest_end(session)
    end = min(begin + HOUR, cap) if ttl is None else begin + ttl
    session = replace(session, end=end)
    approval = world.approvals.get(session.approval)
    own_consent = approval is not None and approval.kind != BREAK_GLASS and actor.name in approval.consents
    if session.id in world.sessions or own_consent or not begin < end <= cap:
        return None
    if not world.stands(session) or not world.contained(session):
        return None
    return lambda: world.sessions.update({session.id: session})


def _ended(world: World, actor: Actor, id_: str, state: str) -> Effect | None:
    known = world.tasks.get(id_)
    if known is None or not (OPERATOR in actor.roles or actor.stands_for(known.owner)):
        return None
    return _moved(known, "open", state)


def _moved(fact: Identity | Approval | Task | Session | None, before: str, after: str) -> Effect | None:
    """Return the move of a fact from one state to another, if that is where it is."""
    return (lambda: setattr(fact, "state", after)) if fact is not None and fact.state == before else None
