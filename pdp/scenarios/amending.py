"""The verbs that change one field or two of a fact, as if the world had changed: whoever did it, by whatever right.

What a person or pipeline does is told by a command instead, which rules may refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from pdp.core.model import AnyFact, ApprovalState, FactKind, IdentityState, SessionState, TaskState
from pdp.scenarios.story import Amend


class Amendment(NamedTuple):
    """What kind of fact a verb is about, and what it makes of the fact."""

    kind: FactKind
    change: Callable[[AnyFact, Amend], AnyFact]


def _state(kind: FactKind, state: IdentityState | TaskState | SessionState | ApprovalState) -> Amendment:
    return Amendment(kind, lambda fact, _: replace(fact, state=state))


def _approve(fact: AnyFact, step: Amend) -> AnyFact:
    return replace(fact, state=ApprovalState.APPROVED, approved_by=step.by)


def _review(fact: AnyFact, step: Amend) -> AnyFact:
    return replace(fact, reviewed_by=step.by)


def _certify(fact: AnyFact, step: Amend) -> AnyFact:
    return replace(fact, certified_by=step.by, certified_until=step.until)


BY_ID: Mapping[str, Amendment] = {
    "complete_task": _state(FactKind.TASK, TaskState.COMPLETED),
    "cancel_task": _state(FactKind.TASK, TaskState.CANCELLED),
    "close_session": _state(FactKind.SESSION, SessionState.CLOSED),
    "suspend": _state(FactKind.IDENTITY, IdentityState.SUSPENDED),
    "reinstate": _state(FactKind.IDENTITY, IdentityState.ACTIVE),
    "retire": _state(FactKind.IDENTITY, IdentityState.RETIRED),
    "reject": _state(FactKind.APPROVAL, ApprovalState.REJECTED),
    "withdraw": _state(FactKind.APPROVAL, ApprovalState.WITHDRAWN),
}
"""Verbs that take the id of a fact."""

BY_PERSON: Mapping[str, Amendment] = {
    "approve": Amendment(FactKind.APPROVAL, _approve),
    "review": Amendment(FactKind.APPROVAL, _review),
    "certify": Amendment(FactKind.ENTITLEMENT, _certify),
}
"""Verbs that also say who did it (`certify` until when, too)."""

AMENDMENTS: Mapping[str, Amendment] = {**BY_ID, **BY_PERSON}
