"""What is called narrowing narrows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pdp.core.model import KIND_OF, Entitlement, Session
from pdp.core.scope import Scope
from pdp.core.scope_relations import outside
from pdp.governance.refusal import Refusal, Rule

_S = TypeVar("_S", bound=Scope)

REMEDY = "ask only for less than there is"


def against_wider_scope(noun: str, asked: Scope, fact: Session | Entitlement, current: Scope) -> Iterator[Refusal]:
    """Refuse a scope that reaches beyond the fact's current one; `noun` is what its patterns cover."""
    beyond = outside(asked, current)
    if beyond:
        kind, own = KIND_OF[type(fact)], listed(current.patterns)
        message = f"{noun} {listed(beyond)} would be new to {kind} `{fact.id}`"
        yield Refusal(Rule.NOT_NARROWER, message, f"name {noun} within {own}", f"{kind}:{fact.id}")


def against_no_change(fact: Session | Entitlement, after: Session | Entitlement) -> Iterator[Refusal]:
    """Refuse a narrowing that leaves everything as it is."""
    if fact == after:
        kind = KIND_OF[type(fact)]
        yield Refusal(Rule.NOT_NARROWER, f"{kind} `{fact.id}` is no wider than that", REMEDY, f"{kind}:{fact.id}")


def narrowed(asked: _S, current: _S) -> _S:
    """Return the scope that was asked for; the current one if none was, or if it covers no less."""
    return asked if asked.patterns and outside(current, asked) else current


def listed(patterns: tuple[str, ...]) -> str:
    """Return patterns for people."""
    return ", ".join(f"`{pattern}`" for pattern in patterns)
