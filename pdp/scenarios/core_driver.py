"""Tells stories to the core in process: no server, no store, no clock but the story's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from pdp.core.decide import decide, refuse
from pdp.core.decision import Allow, Decision, Deny
from pdp.core.explain import Explained, Verdict, explain
from pdp.core.lawful import faults_of
from pdp.core.lawful_request import Fault, faults_of_request
from pdp.core.model import (
    AnyFact,
    Caller,
    Change,
    Drop,
    FactKind,
    Instant,
    Put,
    Request,
    Revision,
)
from pdp.core.permissions import permissions
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code, Denial
from pdp.core.scope import IdentityScope
from pdp.core.snapshot import Readiness, Snapshot
from pdp.governance.commands import Command
from pdp.governance.refusal import Refused
from pdp.governance.roles import Principal, role_required
from pdp.governance.table import COMMANDS
from pdp.governance.view import Plan, View
from pdp.scenarios.driver import (
    CheckSpec,
    DriverError,
    Observed,
    ObservedExplanation,
    ObservedPermission,
    ObservedPermissions,
    ObservedReason,
    ObservedRefusal,
    Outcome,
    PermissionsSpec,
    RoleRule,
    ServiceFault,
)

_READINESS = {
    ServiceFault.STATE_NOT_READY: Readiness.NOT_READY,
    ServiceFault.STATE_STALE: Readiness.STALE,
}
_REFUSALS = {
    ServiceFault.OVERLOADED: Denial(Code.OVERLOADED, "too many checks are under way"),
    ServiceFault.INTERNAL_ERROR: Denial(Code.INTERNAL_ERROR, "the decision could not be computed"),
}


class CoreDriver:
    """A `Driver` over a snapshot, `decide`, and the rules of commands."""

    def __init__(self) -> None:
        self._snapshot = Snapshot()
        self._callers: Mapping[str, Sequence[str]] = {}
        self._principals: Mapping[str, Principal] = {}
        self._now = Instant(0)
        self._fault = ServiceFault.NONE

    async def start(
        self,
        policies: PolicySet,
        callers: Mapping[str, Sequence[str]],
        principals: Sequence[Principal],
        now: Instant,
    ) -> None:
        """Begin with an empty snapshot that is ready."""
        self._snapshot = Snapshot(policies)
        self._snapshot.readiness = Readiness.READY
        self._callers = callers
        self._principals = {one.name: one for one in principals}
        self._now = now

    async def set_policies(self, policies: PolicySet) -> None:
        """Swap the set in the snapshot."""
        self._snapshot.policies = policies

    async def set_clock(self, now: Instant) -> None:
        """Move decision time on; it never runs backward."""
        self._now = max(self._now, now)

    async def set_fault(self, fault: ServiceFault) -> None:
        """Set the readiness, or remember what to refuse with."""
        self._fault = fault
        self._snapshot.readiness = _READINESS.get(fault, Readiness.READY)

    async def apply(self, facts: Sequence[AnyFact]) -> Revision:
        """Fold the facts as one commit."""
        return self._commit(Put(fact) for fact in facts)

    async def drop(self, kind: FactKind, id_: str) -> Revision:
        """Fold the removal."""
        return self._commit([Drop(kind, id_)])

    async def carry_out(self, command: Command, principal: str, reason: str) -> Revision | ObservedRefusal:
        """Decide by the command's rule on the facts as they are, and fold what it wants written."""
        row, actor = COMMANDS[type(command)], self._principals[principal]
        if actor.role_among(row.roles) is None:
            message = role_required(actor, type(command).__name__, row.roles)
            return ObservedRefusal(rules=(RoleRule.ROLE_REQUIRED,), message=message)
        if getattr(command, "id", None) == "":
            command = replace(command, id=f"made-at-revision-{self._snapshot.revision + 1}")
        outcome = row.rule(command, View(self._snapshot, self._now, actor, reason))
        return _observed_refusal(outcome) if isinstance(outcome, Refused) else self._commit(_lawful(outcome))

    async def check(self, spec: CheckSpec) -> Observed:
        """Decide, and record the uses of an allow."""
        decision = self._decision(spec)
        if isinstance(decision, Allow):
            self._snapshot.record_use(decision.used_sessions, decision.used_approvals, self._now)
        return observed(decision)

    async def explain(self, spec: CheckSpec) -> ObservedExplanation:
        """Explain a well-formed question."""
        _, rows = explain(self._request(spec), self._snapshot, self._now)
        return observed_explanation(rows)

    async def permissions(self, spec: PermissionsSpec) -> ObservedPermissions:
        """List what the session may do."""
        values = {name: getattr(spec, name) for name in spec.__struct_fields__}
        listed = permissions(self._request(CheckSpec(**values, action="", resource="")), self._snapshot, self._now)
        pairs = tuple(ObservedPermission(item.action, item.resource, item.conditions) for item in listed.permissions)
        return ObservedPermissions(pairs, tuple(map(_reason, listed.denials)))

    async def close(self) -> None:
        """Nothing is held."""

    def _commit(self, changes: Iterable[Change]) -> Revision:
        revision = self._snapshot.revision + 1
        self._snapshot.apply(revision, changes)
        return revision

    def _decision(self, spec: CheckSpec) -> Decision:
        refusal = _REFUSALS.get(self._fault) or _invalid(spec)
        if refusal is not None:
            return refuse(refusal.code, refusal.message, self._snapshot, self._now)
        decision = decide(self._request(spec), self._snapshot, self._now)
        if self._fault is ServiceFault.EVIDENCE_UNAVAILABLE and decision.durable:
            message = "the evidence of this decision cannot be written"
            return refuse(Code.EVIDENCE_UNAVAILABLE, message, self._snapshot, self._now)
        return decision

    def _request(self, spec: CheckSpec) -> Request:
        return Request(
            spec.subject,
            spec.action,
            spec.resource,
            session=spec.session,
            task=spec.task,
            context=spec.context,
            credential=spec.credential,
            caller=self._caller(spec.caller),
            subject_type=spec.subject_type,
            subject_properties=spec.subject_properties,
            action_properties=spec.action_properties,
            resource_properties=spec.resource_properties,
            at_least_revision=spec.at_least_revision,
            request_id=spec.request_id,
        )

    def _caller(self, id_: str) -> Caller | None:
        return Caller(id_, IdentityScope(self._callers.get(id_, (id_,)))) if id_ else None


def observed(decision: Decision) -> Observed:
    """Return a decision as a driver shows it."""
    if isinstance(decision, Deny):
        return _observed_deny(decision)
    grant = decision.grant
    approval = grant.approval
    return Observed(
        outcome=Outcome.ALLOW,
        reasons=(ObservedReason(decision.code),),
        policies=decision.policies,
        identity=grant.identity.id,
        owner=grant.identity.owner,
        session=grant.session.id,
        task=grant.task.id,
        entitlement=grant.entitlement.id,
        approval="" if approval is None else approval.id,
        ticket="" if approval is None else approval.ticket,
        valid_until=decision.valid_until,
        obligations=decision.obligations,
        revision=decision.revision,
        policy_version=decision.policy_version,
    )


def _observed_deny(decision: Deny) -> Observed:
    found = decision.basis
    return Observed(
        outcome=Outcome.DENY,
        reasons=tuple(map(_reason, decision.reasons)),
        policies=decision.policies,
        identity=found.identity.id if found.identity else "",
        owner=found.identity.owner if found.identity else "",
        session=found.session.id if found.session else "",
        task=found.task.id if found.task else "",
        entitlement=found.entitlement.id if found.entitlement else "",
        approval=found.approval.id if found.approval else "",
        ticket=found.approval.ticket if found.approval else "",
        revision=decision.revision,
        policy_version=decision.policy_version,
    )


def _observed_refusal(refused: Refused) -> ObservedRefusal:
    first = refused.reasons[0]
    return ObservedRefusal(
        rules=tuple(dict.fromkeys(one.rule for one in refused.reasons)),
        message=first.message,
        remedy=first.remedy,
        about=first.about,
    )


def _lawful(plan: Plan) -> Iterable[Change]:
    """Return what a plan writes; raise DriverError if that is no lawful fact, which every door refuses."""
    faults = [fault for change in plan.changes if isinstance(change, Put) for fault in faults_of(change.fact)]
    if faults:
        raise DriverError("; ".join(f"`{field}` {message}" for field, message in faults))
    return plan.changes


def observed_explanation(rows: Iterable[Explained]) -> ObservedExplanation:
    """Return the rows that did not pass; a code whose rows came to both failed and not reached has failed."""
    failed: dict[Code, ObservedReason] = {}
    not_reached: dict[Code, None] = {}
    for row in rows:
        if row.denial is not None:
            failed.setdefault(row.code, _reason(row.denial))
        elif row.verdict is Verdict.NOT_REACHED:
            not_reached[row.code] = None
    return ObservedExplanation(tuple(failed.values()), tuple(code for code in not_reached if code not in failed))


def _reason(denial: Denial) -> ObservedReason:
    return ObservedReason(denial.code, denial.message, denial.about)


def _invalid(spec: CheckSpec) -> Denial | None:
    type_, _, id_ = spec.resource.partition(":")
    faults = faults_of_request(
        subject=spec.subject,
        action=spec.action,
        resource_type=type_,
        resource_id=id_,
        subject_type=spec.subject_type,
        session=spec.session,
        task=spec.task,
        request_id=spec.request_id,
        credential=spec.credential,
    )
    return Denial(Code.REQUEST_INVALID, _faults_text(faults)) if faults else None


def _faults_text(faults: Sequence[Fault]) -> str:
    return "; ".join(f"`{fault.field}` {fault.message}" for fault in faults)
