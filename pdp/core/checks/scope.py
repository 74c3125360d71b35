"""Scope: do the action and the resource lie in the session and in everything it rests on?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from pdp.core.case import SESSION, Case
from pdp.core.checks.row import Row
from pdp.core.model import Approval, Entitlement, Session
from pdp.core.reasons import Code, Denial

Scoped: TypeAlias = Session | Entitlement | Approval


def scopes(case: Case) -> Iterator[tuple[str, Scoped]]:
    """Yield every fact the scope must lie in: session, approval, entitlement, and those of each ancestor."""
    if case.session is not None:
        yield "session", case.session
    if case.approval is not None:
        yield "approval", case.approval
    if case.entitlement is not None:
        yield "entitlement", case.entitlement
    for ancestor in case.ancestors:
        if ancestor is not None:
            yield from scopes_of_ancestor(case, ancestor)


def scopes_of_ancestor(case: Case, ancestor: Session) -> Iterator[tuple[str, Scoped]]:
    """Yield an ancestor and what it rests on."""
    yield "session", ancestor
    approval = case.snapshot.approvals.get(ancestor.approval)
    if approval is not None:
        yield "approval", approval
    entitlement = case.snapshot.entitlements.get(ancestor.entitlement)
    if entitlement is not None:
        yield "entitlement", entitlement


def action_out_of_scope(case: Case) -> Denial | None:
    """The narrowest fact that does not cover the action is named."""
    action = case.request.action
    for kind, fact in scopes(case):
        if not fact.actions.covers(action):
            message = f"action `{action}` is outside {kind} `{fact.id}`"
            return Denial(Code.ACTION_OUT_OF_SCOPE, message, f"{kind}:{fact.id}")
    return None


def resource_out_of_scope(case: Case) -> Denial | None:
    """The narrowest fact that does not cover the resource is named."""
    resource = case.request.resource
    for kind, fact in scopes(case):
        if not fact.resources.covers(resource):
            message = f"resource `{resource}` is outside {kind} `{fact.id}`"
            return Denial(Code.RESOURCE_OUT_OF_SCOPE, message, f"{kind}:{fact.id}")
    return None


ROWS = (
    Row(Code.ACTION_OUT_OF_SCOPE, SESSION, action_out_of_scope, "open a session that covers the action"),
    Row(Code.RESOURCE_OUT_OF_SCOPE, SESSION, resource_out_of_scope, "open a session that covers the resource"),
)
