"""Tells stories to a real sidecar with the Python client, as services ask."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sessionpdp import PDP, Action, AsyncPDP, Check, Decision, InvalidCheck, Reason, Resource, Subject
from sessionpdp import Credential as ClientCredential
from sessionpdp.answers import Explanation, Permissions

from pdp.core.model import Credential, Instant
from pdp.core.policy.model import Obligation
from pdp.core.reasons import Code
from pdp.scenarios.driver import (
    CheckSpec,
    DriverError,
    Observed,
    ObservedExplanation,
    ObservedPermission,
    ObservedPermissions,
    ObservedReason,
    Outcome,
    PermissionsSpec,
)
from tests.scenarios.drivers import GrpcDriver, observed_explanation
from tests.scenarios.story_server import PATIENCE_S

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AsyncClientDriver(GrpcDriver):
    """A `Driver` that writes as `GrpcDriver` does, and asks with `AsyncPDP`."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[str, AsyncPDP] = {}

    async def explain(self, spec: CheckSpec) -> ObservedExplanation:
        """Ask for the table."""
        return _explanation(
            await self._client(spec.caller).explain(timeout=self.timeout(spec), **_check(spec).fields())
        )

    async def permissions(self, spec: PermissionsSpec) -> ObservedPermissions:
        """Ask what may be done."""
        return _permissions(
            await self._client(spec.caller).permissions(
                subject=spec.subject,
                session=spec.session,
                task=spec.task,
                context=spec.context,
                credential=_credential(spec.credential),
            )
        )

    async def close(self) -> None:
        """Close the clients, stop the sidecar."""
        for client in self._clients.values():
            await client.aclose()
        await super().close()

    async def _check(self, spec: CheckSpec) -> Observed:
        """Ask; a mistake that the client refuses must be one that the server refuses."""
        try:
            decision = await self._decision(spec)
        except InvalidCheck:
            return await self._refused_in_batch(spec)
        return _observed(decision)

    async def _decision(self, spec: CheckSpec) -> Decision:
        # Without a deadline of its own a check shares the stream, the way most checks go.
        client, check = self._client(spec.caller), _check(spec)
        return await client.check(timeout=self.timeout(spec) if spec.at_least_revision else None, **check.fields())

    def _client(self, caller: str) -> AsyncPDP:
        client = self._clients.get(caller)
        if client is None:
            credentials = self.server.credentials(caller)
            client = AsyncPDP(self.server.target, timeout=PATIENCE_S, credentials=credentials)
            self._clients[caller] = client
        return client


class BlockingClientDriver(AsyncClientDriver):
    """A `Driver` that asks with `PDP`, from a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._blocking: dict[str, PDP] = {}

    async def close(self) -> None:
        """Close the clients, stop the sidecar."""
        for client in self._blocking.values():
            await asyncio.to_thread(client.close)
        await super().close()

    async def _decision(self, spec: CheckSpec) -> Decision:
        client = self._blocking.get(spec.caller)
        if client is None:
            credentials = self.server.credentials(spec.caller)
            client = PDP(self.server.target, timeout=PATIENCE_S, credentials=credentials)
            self._blocking[spec.caller] = client
        fields, timeout = _check(spec).fields(), self.timeout(spec)
        return await asyncio.to_thread(lambda: client.check(timeout=timeout, **fields))


def _check(spec: CheckSpec) -> Check:
    kind, colon, id_ = spec.resource.partition(":")
    return Check(
        subject=Subject(spec.subject, spec.subject_type, spec.subject_properties),
        action=Action(spec.action, spec.action_properties),
        resource=Resource(kind, id_, spec.resource_properties) if colon else spec.resource,
        session=spec.session,
        task=spec.task,
        context=spec.context,
        credential=_credential(spec.credential),
        at_least_revision=spec.at_least_revision,
        request_id=spec.request_id,
    )


def _credential(credential: Credential | None) -> ClientCredential | None:
    if credential is None:
        return None
    return ClientCredential(
        credential.id,
        credential.issuer,
        credential.subject,
        _moment(credential.issued_at),
        _moment(credential.expires_at),
    )


def _moment(instant: Instant | None) -> datetime | None:
    return None if instant is None else _EPOCH + timedelta(microseconds=instant // 1000)


def _observed(decision: Decision) -> Observed:
    if not decision.decided:
        raise DriverError(str(decision.reasons))
    until = decision.valid_until
    return Observed(
        outcome=Outcome.ALLOW if decision.allowed else Outcome.DENY,
        reasons=tuple(map(_reason, decision.reasons)),
        policies=decision.policies,
        identity=decision.identity_id,
        owner=decision.owner,
        session=decision.session_id,
        task=decision.task_id,
        entitlement=decision.entitlement_id,
        approval=decision.approval_id,
        ticket=decision.ticket,
        valid_until=None if until is None else Instant((until - _EPOCH) // timedelta(microseconds=1) * 1000),
        obligations=tuple(Obligation(type=one.type, parameters=dict(one.parameters)) for one in decision.obligations),
        revision=decision.revision,
        policy_version=decision.policy_version,
    )


def _reason(reason: Reason) -> ObservedReason:
    return ObservedReason(Code(reason.code), reason.message, reason.subject_of_reason)


def _explanation(explanation: Explanation) -> ObservedExplanation:
    if not explanation.decision.decided:
        raise DriverError(str(explanation.decision.reasons))
    return observed_explanation((Code(row.code), row.verdict, row.message) for row in explanation.checks)


def _permissions(permissions: Permissions) -> ObservedPermissions:
    if not permissions.decided:
        raise DriverError(str(permissions.reasons))
    return ObservedPermissions(
        tuple(ObservedPermission(one.action, one.resource, one.conditions) for one in permissions.permissions),
        tuple(map(_reason, permissions.reasons)),
    )
