"""Scope: do the action and the resource lie in the session and in everything it rests on?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from pdp.core.aspects import APPROVAL, ENTITLEMENT, PARENT, SESSION
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.model import KIND_OF, Approval, Entitlement, Session
from pdp.core.reasons import Code, Denial

Scoped: TypeAlias = Session | Entitlement | Approval
"""A fact that has a scope."""


def scopes_of_ancestors(case: Case) -> Iterator[Scoped]:
    """Yield each ancestor, and the entitlement and approval it rests on."""
    for ancestor in case.ancestors:
        yield ancestor
        entitlement = case.snapshot.entitlements.get(ancestor.entitlement)
        if entitlement is not None:
            yield entitlement
        approval = case.snapshot.approvals.get(ancestor.approval)
        if approval is not None:
            yield approval


def action_outside_session(case: Case) -> Denial | None:
    """The session is the narrow one."""
    return None if case.session.actions.covers(case.request.action) else _action_outside(case, case.session)


def action_outside_approval(case: Case) -> Denial | None:
    """The approval is the narrow one."""
    return None if case.approval.actions.covers(case.request.action) else _action_outside(case, case.approval)


def action_outside_entitlement(case: Case) -> Denial | None:
    """The entitlement is the narrow one."""
    return None if case.entitlement.actions.covers(case.request.action) else _action_outside(case, case.entitlement)


def action_outside_ancestor(case: Case) -> Denial | None:
    """An ancestor, or what it rests on, is the narrow one."""
    action = case.request.action
    for fact in scopes_of_ancestors(case):
        if not fact.actions.covers(action):
            return _action_outside(case, fact)
    return None


def resource_outside_session(case: Case) -> Denial | None:
    """The session is the narrow one."""
    return None if case.session.resources.covers(case.request.resource) else _resource_outside(case, case.session)


def resource_outside_approval(case: Case) -> Denial | None:
    """The approval is the narrow one."""
    return None if case.approval.resources.covers(case.request.resource) else _resource_outside(case, case.approval)


def resource_outside_entitlement(case: Case) -> Denial | None:
    """The entitlement is the narrow one."""
    fact = case.entitlement
    return None if fact.resources.covers(case.request.resource) else _resource_outside(case, fact)


def resource_outside_ancestor(case: Case) -> Denial | None:
    """An ancestor, or what it rests on, is the narrow one."""
    resource = case.request.resource
    for fact in scopes_of_ancestors(case):
        if not fact.resources.covers(resource):
            return _resource_outside(case, fact)
    return None


def _action_outside(case: Case, fact: Scoped) -> Denial:
    kind = KIND_OF[type(fact)]
    message = f"action `{case.request.action}` is outside {kind} `{fact.id}`"
    return Denial(Code.ACTION_OUT_OF_SCOPE, message, f"{kind}:{fact.id}")


def _resource_outside(case: Case, fact: Scoped) -> Denial:
    kind = KIND_OF[type(fact)]
    message = f"resource `{case.request.resource}` is outside {kind} `{fact.id}`"
    return Denial(Code.RESOURCE_OUT_OF_SCOPE, message, f"{kind}:{fact.id}")


_ACTION, _RESOURCE = "open a session that covers the action", "open a session that covers the resource"

ROWS = (
    Row(Code.ACTION_OUT_OF_SCOPE, SESSION, action_outside_session, _ACTION),
    Row(Code.ACTION_OUT_OF_SCOPE, APPROVAL, action_outside_approval, _ACTION),
    Row(Code.ACTION_OUT_OF_SCOPE, ENTITLEMENT, action_outside_entitlement, _ACTION),
    Row(Code.ACTION_OUT_OF_SCOPE, SESSION | PARENT, action_outside_ancestor, _ACTION),
    Row(Code.RESOURCE_OUT_OF_SCOPE, SESSION, resource_outside_session, _RESOURCE),
    Row(Code.RESOURCE_OUT_OF_SCOPE, APPROVAL, resource_outside_approval, _RESOURCE),
    Row(Code.RESOURCE_OUT_OF_SCOPE, ENTITLEMENT, resource_outside_entitlement, _RESOURCE),
    Row(Code.RESOURCE_OUT_OF_SCOPE, SESSION | PARENT, resource_outside_ancestor, _RESOURCE),
)
