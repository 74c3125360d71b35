"""What the lifecycle's model asks for, as messages, and what the doors tell, as the model would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from google.protobuf.message import Message
from sessionpdp.v1 import decision_pb2, facts_pb2, governance_pb2

from tests.integration.lifecycle_model import Scope, World

Told: TypeAlias = tuple[tuple[str, str], tuple[object, ...]]
"""A fact by kind and id, with what the model knows of it."""

_INSTANTS = ("not_before", "until", "effective_at", "expires_at")
_DURATIONS = ("ttl", "max_session_ttl", "idle_timeout")


def check_of(subject: str, session: str, action: str, resource: str) -> decision_pb2.CheckRequest:
    """Return a question."""
    kind, _, id_ = resource.partition(":")
    return decision_pb2.CheckRequest(
        subject=decision_pb2.Subject(id=subject),
        action=decision_pb2.Action(name=action),
        resource=decision_pb2.Resource(type=kind, id=id_),
        session_id=session,
    )


def request_of(name: str, fields: Mapping[str, object], *, key: str, dry: bool) -> tuple[str, Message]:
    """Return method and request of a command."""
    manner: dict[str, Any] = {"reason": "a test", "idempotency_key": key, "dry_run": dry}
    if name == "keep_break_glass":
        keep = governance_pb2.REVIEW_CHOICE_KEEP
        review = f"approval:{fields['approval_id']}"
        return "DecideReview", governance_pb2.DecideReviewRequest(review_id=review, choice=keep, **manner)
    method = "".join(word.capitalize() for word in name.split("_"))
    if name == "register_identity":
        manner["kind"] = facts_pb2.IDENTITY_KIND_AI_AGENT
    if name == "request_approval":
        manner["justification"] = "a test"
    request: Message = getattr(governance_pb2, f"{method}Request")(**manner)
    for field, value in fields.items():
        _set(request, field, value)
    return method, request


def _set(request: Message, field: str, value: object) -> None:
    if isinstance(value, Scope):
        request.actions.append(value.actions)  # type: ignore[attr-defined]
        request.resources.append(value.resources)  # type: ignore[attr-defined]
    elif value is None:
        return
    elif field in (*_INSTANTS, *_DURATIONS):
        getattr(request, field).FromNanoseconds(value)
    elif field == "target":
        setattr(request, field, f"REVOCATION_TARGET_{str(value).upper()}")
    else:
        setattr(request, "id" if field == "new_id" else field, value)


def facts_of(world: World) -> dict[tuple[str, str], tuple[object, ...]]:
    """Return what the model knows."""
    told: dict[tuple[str, str], tuple[object, ...]] = {}
    for id_, identity in world.identities.items():
        told["identity", id_] = (identity.owner, identity.state)
    for id_, one in world.entitlements.items():
        scope = (one.scope.actions, one.scope.resources)
        told["entitlement", id_] = (one.identity, *scope, one.max_ttl, one.certified_until, one.granted_by)
    for id_, approval in world.approvals.items():
        scope, window = (approval.scope.actions, approval.scope.resources), (approval.begin, approval.end)
        consents = tuple(approval.consents)
        told["approval", id_] = (approval.state, *scope, *window, approval.max_uses, consents, approval.reviewed_by)
    for id_, task in world.tasks.items():
        told["task", id_] = (task.owner, task.parent, task.state)
    for id_, session in world.sessions.items():
        scope, window = (session.scope.actions, session.scope.resources), (session.begin, session.end)
        limits = (session.idle, session.max_uses, session.parent, session.state)
        told["session", id_] = (session.identity, session.task, session.approval, *scope, *window, *limits)
    for id_, revocation in world.revocations.items():
        told["revocation", id_] = (revocation.target_id, revocation.effective_at, revocation.expires_at)
    return told


def fact_told(fact: facts_pb2.Fact) -> Told:
    """Return what the model would know of a fact."""
    kind = str(fact.WhichOneof("fact"))
    return (kind, getattr(fact, kind).id), _TOLD[kind](getattr(fact, kind))


def _entitlement(fact: facts_pb2.Entitlement) -> tuple[object, ...]:
    scope = (*fact.actions, *fact.resources)
    return (fact.identity, *scope, _ns(fact, "max_session_ttl"), _ns(fact, "certified_until"), fact.granted_by)


def _approval(fact: facts_pb2.Approval) -> tuple[object, ...]:
    window, consents = (_ns(fact, "not_before"), _ns(fact, "expires_at")), tuple(one.by for one in fact.consents)
    scope, most = (*fact.actions, *fact.resources), fact.max_uses if fact.HasField("max_uses") else None
    return (_state(facts_pb2.ApprovalState, fact.state), *scope, *window, most, consents, fact.reviewed_by)


def _session(fact: facts_pb2.Session) -> tuple[object, ...]:
    scope, window = (*fact.actions, *fact.resources), (_ns(fact, "not_before"), _ns(fact, "expires_at"))
    most = fact.max_uses if fact.HasField("max_uses") else None
    limits = (_ns(fact, "idle_timeout"), most, fact.parent, _state(facts_pb2.SessionState, fact.state))
    return (fact.identity, fact.task, fact.approval, *scope, *window, *limits)


def _revocation(fact: facts_pb2.Revocation) -> tuple[object, ...]:
    return (fact.target_id, _ns(fact, "effective_at"), _ns(fact, "expires_at"))


_TOLD: Mapping[str, Callable[[Any], tuple[object, ...]]] = {
    "identity": lambda fact: (fact.owner, _state(facts_pb2.IdentityState, fact.state)),
    "entitlement": _entitlement,
    "approval": _approval,
    "task": lambda fact: (fact.owner, fact.parent, _state(facts_pb2.TaskState, fact.state)),
    "session": _session,
    "revocation": _revocation,
}


def _ns(fact: Message, field: str) -> int | None:
    return getattr(fact, field).ToNanoseconds() if fact.HasField(field) else None


def _state(enum: object, number: int) -> str:
    name: str = enum.Name(number)  # type: ignore[attr-defined]
    return name.rpartition("_STATE_")[2].lower()
