"""The scenario for this product: entitlements and sessions grant, twenty policies restrict."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.rivals.scenario import NOW, ROLES, Ask, Job, Scenario
from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.model import (
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Request,
    Session,
    SessionState,
    Task,
    TaskState,
)
from pdp.core.policy.model import Limits, Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.wording import SECOND


class Pdp:
    """Answers with `decide`."""

    name = "this product, `decide`"

    def __init__(self, scenario: Scenario) -> None:
        self._snapshot = Snapshot(PolicySet([_policy(role) for role in range(ROLES)], "1"))
        self._snapshot.readiness = Readiness.READY
        self._snapshot.apply(1, [Put(fact) for job in scenario.jobs for fact in _facts(job)])
        self._now = Instant(NOW * SECOND)

    def prepared(self, ask: Ask) -> Request:
        """Return the question as this engine takes it."""
        return Request(ask.job, ask.action, f"database:{ask.database}/{ask.table}", ask.session, ask.task)

    def answers(self, requests: Sequence[Request]) -> list[bool]:
        """Return whether each is allowed."""
        snapshot, now = self._snapshot, self._now
        return [isinstance(decide(request, snapshot, now), Allow) for request in requests]


def _policy(role: int) -> Policy:
    return Policy(
        name=f"role-{role}",
        actions=("rows.read",),
        resources=(f"database:prod-{role}/**",),
        limits=Limits(session_ttl=Duration(24 * 3600 * SECOND)),
    )


def _facts(job: Job) -> tuple[Identity, Entitlement, Task, Session]:
    resources = ResourceScope([f"database:{job.database}/**"])
    return (
        Identity(id=job.id, kind=IdentityKind.WORKLOAD, owner=job.role),
        Entitlement(
            id=f"e-{job.id}",
            identity=IdentityScope([job.id]),
            actions=ActionScope(["rows.read"]),
            resources=resources,
            certified_until=Instant((NOW + 86_400) * SECOND),
        ),
        Task(id=job.task, state=TaskState.OPEN if job.task_open else TaskState.COMPLETED),
        Session(
            id=job.session,
            identity=job.id,
            task=job.task,
            entitlement=f"e-{job.id}",
            actions=ActionScope(["rows.read"]),
            resources=resources,
            not_before=Instant(job.not_before * SECOND),
            expires_at=Instant(job.expires_at * SECOND),
            state=SessionState.OPEN if job.session_open else SessionState.CLOSED,
        ),
    )
