"""Is the fact that a command names there, is it in a state to start from, and is the id of a new one free?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pdp.core.model import KIND_OF, AnyFact, Approval, FactKind, Identity, Session, Task
from pdp.governance.refusal import Refusal, Refused, Rule, refused

_TO_MAKE_KNOWN: Mapping[FactKind, str] = {
    FactKind.IDENTITY: "register the identity",
    FactKind.ENTITLEMENT: "grant the entitlement",
    FactKind.APPROVAL: "request the approval",
    FactKind.TASK: "open the task",
    FactKind.SESSION: "open the session",
    FactKind.REVOCATION: "name a revocation that there is",
    FactKind.SIGNAL: "name a signal that there is",
}


def unknown(kind: FactKind, id_: str) -> Refused:
    """Refuse a command about a fact that is not known."""
    return refused(Rule.NOT_FOUND, f"{kind} `{id_}` is not known", _TO_MAKE_KNOWN[kind], f"{kind}:{id_}")


def in_state(fact: Identity | Approval | Task | Session, remedy: str) -> Refused:
    """Refuse a command that starts from another state than the fact is in."""
    kind = KIND_OF[type(fact)]
    return refused(Rule.WRONG_STATE, f"{kind} `{fact.id}` is {fact.state} already", remedy, f"{kind}:{fact.id}")


def against_taken(known: AnyFact | None) -> Iterator[Refusal]:
    """Refuse the id of a new fact if another one has it."""
    if known is not None:
        kind = KIND_OF[type(known)]
        message = f"{kind} `{known.id}` exists already"
        yield Refusal(Rule.ALREADY_EXISTS, message, "choose another id", f"{kind}:{known.id}")
