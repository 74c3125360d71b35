"""Tells stories to a real sidecar with the Python client, as services ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, get_args

from msgspec.structs import fields as fields_of
from sessionpdp import (
    PDP,
    Action,
    AsyncGovernance,
    AsyncPDP,
    Check,
    CommandRefused,
    Decision,
    Governance,
    GovernanceError,
    InvalidCheck,
    NotPermitted,
    Reason,
    Resource,
    Subject,
)
from sessionpdp import Credential as ClientCredential
from sessionpdp.answers import Explanation, Permissions
from sessionpdp.commands import Change

from pdp.core.model import Credential, Duration, Instant, Revision
from pdp.core.policy.model import Obligation
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope, Scope
from pdp.governance.commands import Command
from pdp.scenarios.commanding import RULES_BY_NAME, name_of
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
)
from tests.scenarios.drivers import GrpcDriver, observed_explanation
from tests.scenarios.story_server import PATIENCE_S

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AsyncClientDriver(GrpcDriver):
    """A `Driver` that imports as `GrpcDriver` does, commands with `AsyncGovernance`, and asks with `AsyncPDP`."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[str, AsyncPDP] = {}
        self._governing: dict[str, AsyncGovernance] = {}

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
        for governance in self._governing.values():
            await governance.aclose()
        await super().close()

    async def _commanded(self, command: Command, principal: str, reason: str) -> Revision | ObservedRefusal:
        """Call the method of the command's name."""
        try:
            change = await self._changed(name_of(type(command)), principal, {**_given(command), "reason": reason})
        except (CommandRefused, NotPermitted) as error:
            return _refusal(error)
        except GovernanceError as error:
            raise DriverError(str(error)) from error
        return change.revision

    async def _changed(self, method: str, principal: str, given: Mapping[str, Any]) -> Change:
        client = self._governing.get(principal)
        if client is None:
            token = self.server.tokens[principal]
            client = AsyncGovernance(self.server.admin_target, token=token, timeout=PATIENCE_S)
            self._governing[principal] = client
        changed: Change = await getattr(client, method)(**given)
        return changed

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
    """A `Driver` that commands with `Governance` and asks with `PDP`, from a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._blocking: dict[str, PDP] = {}
        self._commanding: dict[str, Governance] = {}

    async def close(self) -> None:
        """Close the clients, stop the sidecar."""
        for client in self._blocking.values():
            await asyncio.to_thread(client.close)
        for governance in self._commanding.values():
            await asyncio.to_thread(governance.close)
        await super().close()

    async def _changed(self, method: str, principal: str, given: Mapping[str, Any]) -> Change:
        client = self._commanding.get(principal)
        if client is None:
            token = self.server.tokens[principal]
            client = Governance(self.server.admin_target, token=token, timeout=PATIENCE_S)
            self._commanding[principal] = client
        call: Callable[..., Change] = getattr(client, method)
        return await asyncio.to_thread(lambda: call(**given))

    async def _decision(self, spec: CheckSpec) -> Decision:
        client = self._blocking.get(spec.caller)
        if client is None:
            credentials = self.server.credentials(spec.caller)
            client = PDP(self.server.target, timeout=PATIENCE_S, credentials=credentials)
            self._blocking[spec.caller] = client
        fields, timeout = _check(spec).fields(), self.timeout(spec)
        return await asyncio.to_thread(lambda: client.check(timeout=timeout, **fields))


def _given(command: Command) -> dict[str, object]:
    """Return a command's fields as the client takes them; without those that are not given."""
    values = {info.name: (getattr(command, info.name), info.type) for info in fields_of(type(command))}
    given = {name: _argument(value, type_) for name, (value, type_) in values.items()}
    return {name: value for name, value in given.items() if value is not None and value != ()}


def _argument(value: object, type_: object) -> object:
    times = (type_, *get_args(type_))
    if isinstance(value, IdentityScope):
        return value.patterns[0]
    if isinstance(value, Scope):
        return value.patterns
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, int) and Instant in times:
        return _moment(Instant(value))
    if isinstance(value, int) and Duration in times:
        return timedelta(microseconds=value // 1000)
    return value


def _refusal(error: CommandRefused | NotPermitted) -> ObservedRefusal:
    if isinstance(error, NotPermitted):
        return ObservedRefusal(rules=(RoleRule.ROLE_REQUIRED,), message=str(error))
    rules = dict.fromkeys(RULES_BY_NAME[violation.rule] for violation in error.violations)
    return ObservedRefusal(rules=tuple(rules), message=error.message, remedy=error.remedy, about=error.about)


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
