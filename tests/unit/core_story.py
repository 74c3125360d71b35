"""A small story for tests of the core: an agent that reads for a job, and the chain of sessions it acts under."""

from __future__ import annotations

from collections.abc import Sequence

from pdp.core.decide import decide
from pdp.core.decision import Allow, Decision
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Request,
    Session,
    Task,
)
from pdp.core.policy.model import Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot

NOW, END = Instant(50), Instant(100)
ANY_ACTION, ANY_RESOURCE = ActionScope(["**"]), ResourceScope(["**"])
REQUEST = Request(subject="agent", action="rows.read", resource="database:prod", session="s-0")


def session(number: int, parent: str = "") -> Session:
    """Return one session of a chain."""
    return Session(
        id=f"s-{number}",
        identity="agent",
        task="job",
        entitlement="reader",
        actions=ANY_ACTION,
        resources=ANY_RESOURCE,
        not_before=Instant(0),
        expires_at=END,
        parent=parent,
    )


def approval(kind: ApprovalKind) -> Approval:
    """Return a good approval."""
    return Approval(
        id="consent",
        kind=kind,
        state=ApprovalState.APPROVED,
        requested_by="asker",
        approved_by="approver",
        actions=ANY_ACTION,
        resources=ANY_RESOURCE,
        not_before=Instant(0),
        expires_at=END,
        review_due=END,
    )


def chain(length: int) -> list[AnyFact]:
    """Return a session with so many ancestors, and what they rest on."""
    sessions = [session(number, f"s-{number + 1}") for number in range(length)]
    return [
        Identity(id="agent", kind=IdentityKind.AI_AGENT, owner="team"),
        Task(id="job"),
        Entitlement(
            id="reader",
            identity=IdentityScope(["agent"]),
            actions=ANY_ACTION,
            resources=ANY_RESOURCE,
            certified_until=END,
        ),
        *sessions,
        session(length),
    ]


def loaded(facts: Sequence[AnyFact], *policies: Policy) -> Snapshot:
    """Return a snapshot of the facts; a later one of the same id replaces an earlier."""
    snapshot = Snapshot(PolicySet(policies))
    for fact in facts:
        snapshot.put(fact)
    snapshot.readiness = Readiness.READY
    return snapshot


def decided(facts: Sequence[AnyFact], request: Request = REQUEST, *policies: Policy) -> Decision:
    """Return the decision on the request now."""
    return decide(request, loaded(facts, *policies), NOW)


def codes(decision: Decision) -> list[Code]:
    """Return the codes of a decision."""
    return [decision.code] if isinstance(decision, Allow) else [denial.code for denial in decision.reasons]
