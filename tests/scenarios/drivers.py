"""Tells stories to a real sidecar through its gRPC doors: with bare stubs, and with the Python client.

Everything is real but time and the disk: Unix sockets, or mTLS with a certificate per caller where a story has
callers; the embedded store; the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TypeVar

import grpc
from google.protobuf import json_format, struct_pb2
from msgspec.structs import replace
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import decision_pb2_grpc, governance_pb2, governance_pb2_grpc, reasons_pb2

from pdp.core.model import AnyFact, Attributes, Credential, FactKind, Instant, Revision
from pdp.core.policy.model import Obligation
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.doors.command_wire import message_of_command
from pdp.doors.facts_wire import message_of
from pdp.doors.wire import timestamp
from pdp.governance.commands import Command
from pdp.governance.roles import Principal
from pdp.scenarios.commanding import RULES_BY_NAME
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
from tests.integration.serving import Refused
from tests.scenarios.story_server import PATIENCE_S, Server, until

SHORT_S = 1.5
"""For a check that is meant to wait in vain; the server leaves a tenth of it for the way back."""
_T = TypeVar("_T")


class GrpcDriver:
    """A `Driver` over the bare stubs of both doors."""

    def __init__(self) -> None:
        self.server = Server()
        self._fault = ServiceFault.NONE
        self._revision: Revision = 0
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def start(
        self,
        policies: PolicySet,
        callers: Mapping[str, Sequence[str]],
        principals: Sequence[Principal],
        now: Instant,
    ) -> None:
        """Start a sidecar without facts."""
        await self.server.start(policies, callers, principals, now)

    async def set_policies(self, policies: PolicySet) -> None:
        """Replace the policy set as a whole."""
        self.server.set_policies(policies)

    async def set_clock(self, now: Instant) -> None:
        """Set the wall clock, also back."""
        self.server.time.wall = now

    async def set_fault(self, fault: ServiceFault) -> None:
        """Break or mend."""
        self._fault = fault
        await self.server.set_fault(fault)

    async def apply(self, facts: Sequence[AnyFact]) -> Revision:
        """Write facts through the administration door."""
        request = governance_pb2.ApplyFactsRequest(facts=[message_of(fact) for fact in facts], reason="the story")
        return self._written(await _answered(self._governance.ApplyFacts(request, timeout=PATIENCE_S)))

    async def drop(self, kind: FactKind, id_: str) -> Revision:
        """Remove a fact through the administration door."""
        number = governance_pb2.GetFactRequest.DESCRIPTOR.fields_by_name["kind"].enum_type
        reference = governance_pb2.FactReference(kind=number.values_by_name[f"FACT_KIND_{kind.upper()}"].number, id=id_)
        request = governance_pb2.ApplyFactsRequest(removals=[reference], reason="the story")
        return self._written(await _answered(self._governance.ApplyFacts(request, timeout=PATIENCE_S)))

    async def carry_out(self, command: Command, principal: str, reason: str) -> Revision | ObservedRefusal:
        """Ask the administration door, with the principal's token."""
        outcome = await self._commanded(command, principal, reason)
        if not isinstance(outcome, ObservedRefusal):
            self._revision = outcome
        return outcome

    async def check(self, spec: CheckSpec) -> Observed:
        """Ask by one unary call; a malformed question again as an item of a batch."""
        if self._fault is ServiceFault.OVERLOADED:
            return await self._check_crowded(spec)
        return await self._check(spec)

    async def explain(self, spec: CheckSpec) -> ObservedExplanation:
        """Ask for the table."""
        request = pb.ExplainRequest(check=check_message(spec))
        response = await _answered(self._stub(spec.caller).Explain(request, timeout=self.timeout(spec)))
        verdict = pb.Verdict.Name
        return observed_explanation(
            (_code(row.code), verdict(row.verdict).removeprefix("VERDICT_"), row.message) for row in response.checks
        )

    async def permissions(self, spec: PermissionsSpec) -> ObservedPermissions:
        """Ask what may be done."""
        check = check_message(CheckSpec(**_fields(spec), action="", resource=""))
        request = pb.ListPermissionsRequest(
            subject=check.subject,
            session_id=check.session_id,
            task_id=check.task_id,
            context=check.context,
            credential=check.credential if check.HasField("credential") else None,
        )
        response = await _answered(self._stub(spec.caller).ListPermissions(request, timeout=PATIENCE_S))
        return ObservedPermissions(
            tuple(ObservedPermission(one.action, one.resource, tuple(one.conditions)) for one in response.permissions),
            tuple(map(_reason, response.reasons)),
        )

    async def close(self) -> None:
        """Close the channels, stop the sidecar."""
        for channel in self._channels.values():
            await channel.close()
        await self.server.close()

    async def _commanded(self, command: Command, principal: str, reason: str) -> Revision | ObservedRefusal:
        call = getattr(self._governance, type(command).__name__)
        token = (("authorization", f"Bearer {self.server.tokens[principal]}"),)
        try:
            response = await call(message_of_command(command, reason=reason), timeout=PATIENCE_S, metadata=token)
        except grpc.aio.AioRpcError as error:
            return _refusal(Refused(error))
        return Revision(response.revision)

    async def _check(self, spec: CheckSpec) -> Observed:
        try:
            response = await self._stub(spec.caller).Check(check_message(spec), timeout=self.timeout(spec))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                raise DriverError(str(error.details())) from error
            return await self._refused_in_batch(spec)
        return observed(response.decision)

    async def _refused_in_batch(self, spec: CheckSpec) -> Observed:
        request = pb.CheckBatchRequest(checks=[check_message(spec)])
        response = await _answered(self._stub(spec.caller).CheckBatch(request, timeout=PATIENCE_S))
        answer = observed(response.decisions[0])
        if answer.reasons[0].code is not Code.REQUEST_INVALID:
            message = f"refused alone, but {answer.reasons[0].code} in a batch"
            raise DriverError(message)
        return answer

    async def _check_crowded(self, spec: CheckSpec) -> Observed:
        """Ask so that the answer would have to wait, while another check has the one place for those that do."""
        replica = self.server.running.replica
        assert replica is not None
        spec = replace(spec, at_least_revision=self._revision + 1)
        request = check_message(spec)
        holding = asyncio.ensure_future(_completed(self._stub(spec.caller).Check(request, timeout=PATIENCE_S)))
        await until(lambda: bool(replica._waiting))
        answer = await self._check(spec)
        holding.cancel()
        await asyncio.wait([holding])
        await until(lambda: not replica._waiting)
        return answer

    def timeout(self, spec: CheckSpec) -> float:
        """Return the deadline of a check, short if what it waits for will not come."""
        return SHORT_S if spec.at_least_revision > self._revision and not self._crowded else PATIENCE_S

    @property
    def _crowded(self) -> bool:
        return self._fault is ServiceFault.OVERLOADED

    def _written(self, response: governance_pb2.ApplyFactsResponse) -> Revision:
        self._revision = response.revision
        return response.revision

    def _stub(self, caller: str) -> decision_pb2_grpc.DecisionServiceAsyncStub:
        channel = self._channels.get(f"caller {caller}")
        if channel is None:
            credentials = self.server.credentials(caller)
            channel = self._channels[f"caller {caller}"] = (
                grpc.aio.insecure_channel(self.server.target)
                if credentials is None
                else grpc.aio.secure_channel(self.server.target, credentials)
            )
        return decision_pb2_grpc.DecisionServiceStub(channel)

    @property
    def _governance(self) -> governance_pb2_grpc.GovernanceServiceAsyncStub:
        channel = self._channels.get("administration")
        if channel is None:
            channel = self._channels["administration"] = grpc.aio.insecure_channel(self.server.admin_target)
        return governance_pb2_grpc.GovernanceServiceStub(channel)


def check_message(spec: CheckSpec) -> pb.CheckRequest:
    """Return the question as its message."""
    kind, _, id_ = spec.resource.partition(":")
    message = pb.CheckRequest(
        subject=pb.Subject(type=spec.subject_type, id=spec.subject, properties=_struct(spec.subject_properties)),
        action=pb.Action(name=spec.action, properties=_struct(spec.action_properties)),
        resource=pb.Resource(type=kind, id=id_, properties=_struct(spec.resource_properties)),
        context=_struct(spec.context),
        session_id=spec.session,
        task_id=spec.task,
        request_id=spec.request_id,
        at_least_revision=spec.at_least_revision,
    )
    if spec.credential is not None:
        message.credential.CopyFrom(_credential(spec.credential))
    return message


def observed(decision: pb.Decision) -> Observed:
    """Return a decision as a driver shows it."""
    until = decision.valid_until
    return Observed(
        outcome=Outcome.ALLOW if decision.outcome == pb.OUTCOME_ALLOW else Outcome.DENY,
        reasons=tuple(map(_reason, decision.reasons)),
        policies=tuple(decision.policies),
        identity=decision.identity_id,
        owner=decision.owner,
        session=decision.session_id,
        task=decision.task_id,
        entitlement=decision.entitlement_id,
        approval=decision.approval_id,
        ticket=decision.ticket,
        valid_until=Instant(until.ToNanoseconds()) if decision.HasField("valid_until") else None,
        obligations=tuple(
            Obligation(type=one.type, parameters=json_format.MessageToDict(one.parameters))
            for one in decision.obligations
        ),
        revision=decision.revision,
        policy_version=decision.policy_version,
    )


def observed_explanation(rows: Iterable[tuple[Code, str, str]]) -> ObservedExplanation:
    """Return the rows that did not pass: (code, verdict, message); failed wins over not reached."""
    failed: dict[Code, ObservedReason] = {}
    not_reached: dict[Code, None] = {}
    for code, verdict, message in rows:
        if verdict == "FAILED":
            failed.setdefault(code, ObservedReason(code, message))
        elif verdict == "NOT_REACHED":
            not_reached[code] = None
    return ObservedExplanation(tuple(failed.values()), tuple(code for code in not_reached if code not in failed))


def _refusal(refused: Refused) -> ObservedRefusal:
    """Return why the administration door refused a command; raise DriverError for any other error."""
    if refused.reason == RoleRule.ROLE_REQUIRED:
        return ObservedRefusal(rules=(RoleRule.ROLE_REQUIRED,), message=refused.message)
    if not refused.rules:
        message = f"{refused.code.name}: {refused.message}"
        raise DriverError(message)
    remedy = refused.metadata["remedy"]
    return ObservedRefusal(
        rules=tuple(RULES_BY_NAME[rule] for rule in refused.rules),
        message=refused.message.removesuffix(f"; {remedy}"),
        remedy=remedy,
        about=refused.metadata["about"],
    )


def _fields(spec: PermissionsSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


def _struct(attributes: Attributes) -> struct_pb2.Struct | None:
    return json_format.ParseDict(dict(attributes), struct_pb2.Struct()) if attributes else None


def _credential(credential: Credential) -> pb.Credential:
    message = pb.Credential(id=credential.id, issuer=credential.issuer, subject=credential.subject)
    if credential.issued_at is not None:
        message.issued_at.CopyFrom(timestamp(credential.issued_at))
    if credential.expires_at is not None:
        message.expires_at.CopyFrom(timestamp(credential.expires_at))
    return message


def _reason(reason: pb.Reason) -> ObservedReason:
    return ObservedReason(_code(reason.code), reason.message, reason.subject_of_reason)


def _code(number: int) -> Code:
    return Code(reasons_pb2.ReasonCode.Name(number).removeprefix("REASON_CODE_"))


async def _completed(call: Awaitable[_T]) -> _T:
    return await call


async def _answered(call: Awaitable[_T]) -> _T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        message = f"{error.code().name}: {error.details()}"
        raise DriverError(message) from error
