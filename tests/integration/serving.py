"""A sidecar to ask, in this process or in one of its own, and a small world of facts for it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import decision_pb2_grpc, evidence_pb2_grpc, governance_pb2, governance_pb2_grpc, reasons_pb2

from pdp.app import Sidecar
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalState,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Session,
    Task,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.wording import SECOND
from pdp.doors.facts_wire import message_of
from pdp.governance.roles import Role
from pdp.governance.tokens import hash_of
from pdp.settings import Administration, PrincipalSettings, State

PATIENCE_S = 10.0
HOUR = 3600 * SECOND
QUICK = State(heartbeat=Duration(SECOND // 20))
ROLES_OF_PRINCIPAL: Mapping[str, frozenset[Role]] = {
    "release-manager": frozenset({Role.REQUESTER}),
    "change-manager": frozenset({Role.APPROVER}),
    "release-board": frozenset({Role.APPROVER}),
    "on-call-engineer": frozenset({Role.REQUESTER, Role.OPERATOR}),
    "security": frozenset({Role.OPERATOR}),
    "head-of-payments": frozenset({Role.REVIEWER}),
    "auditor": frozenset({Role.AUDITOR}),
    "inventory": frozenset({Role.IMPORTER}),
    "newcomer": frozenset(),
}
"""The principals that every sidecar of these tests knows by a token, besides `local`."""
_RECONNECT = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 200))


def token_of(name: str) -> str:
    """Return the bearer token of a principal."""
    return f"pdpadm_{name}"


def as_principal(name: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata by which a call is that principal's: `metadata=as_principal("change-manager")`."""
    return (("authorization", f"Bearer {token_of(name)}"),)


def administration(**listener: object) -> Administration:
    """Return administration that knows the principals of these tests."""
    principals = {
        name: PrincipalSettings(roles=roles, identities=IdentityScope(["**"]), tokens=[hash_of(token_of(name))])
        for name, roles in ROLES_OF_PRINCIPAL.items()
    }
    return Administration(principals=principals, **listener)  # type: ignore[arg-type]


class Channels:
    """The stubs of one connection to each door."""

    def __init__(self, target: str, admin_target: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.decision_channel = (
            grpc.aio.insecure_channel(target, options=_RECONNECT)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=_RECONNECT)
        )
        self.admin_channel = grpc.aio.insecure_channel(admin_target, options=_RECONNECT)
        self.decisions: decision_pb2_grpc.DecisionServiceAsyncStub = decision_pb2_grpc.DecisionServiceStub(
            self.decision_channel
        )
        self.governance: governance_pb2_grpc.GovernanceServiceAsyncStub = governance_pb2_grpc.GovernanceServiceStub(
            self.admin_channel
        )
        self.evidence: evidence_pb2_grpc.EvidenceServiceAsyncStub = evidence_pb2_grpc.EvidenceServiceStub(
            self.admin_channel
        )
        self.health = health_pb2_grpc.HealthStub(self.decision_channel)

    async def apply(self, *facts: AnyFact, principal: str = "") -> int:
        """Write facts, as whoever the transport says unless a principal is named; return the revision."""
        request = governance_pb2.ApplyFactsRequest(facts=[message_of(fact) for fact in facts], reason="a test")
        metadata = as_principal(principal) if principal else None
        return (await self.governance.ApplyFacts(request, timeout=PATIENCE_S, metadata=metadata)).revision

    async def revoke(self, target: str, target_id: str, **more: object) -> governance_pb2.RevokeResponse:
        """Revoke something named by its kind."""
        number = governance_pb2.RevokeRequest.DESCRIPTOR.fields_by_name["target"].enum_type.values_by_name
        request = governance_pb2.RevokeRequest(
            target=number[f"REVOCATION_TARGET_{target.upper()}"].number, target_id=target_id, reason="a test", **more
        )
        return await self.governance.Revoke(request, timeout=PATIENCE_S)

    async def check(self, request: pb.CheckRequest | None = None, **more: object) -> str:
        """Return the primary code of an answer."""
        call = self.decisions.Check(request or check(**more), timeout=PATIENCE_S)
        return code_of((await call).decision)

    async def close(self) -> None:
        """Close both connections."""
        await self.decision_channel.close()
        await self.admin_channel.close()


class Running(Channels):
    """A sidecar of this process, and a connection to it."""

    def __init__(self, sidecar: Sidecar) -> None:
        settings = sidecar.settings
        super().__init__(settings.decision_address(), settings.administration_address())
        self.sidecar = sidecar

    def another(self) -> Channels:
        """Return further connections, to be closed by the caller."""
        settings = self.sidecar.settings
        return Channels(settings.decision_address(), settings.administration_address())


@asynccontextmanager
async def running(sidecar: Sidecar) -> AsyncIterator[Running]:
    """Start a sidecar, and stop it at the end."""
    connected = Running(sidecar)
    try:
        await sidecar.start()
        yield connected
    finally:
        await connected.close()
        await sidecar.stop()


class ServerProcess:
    """A sidecar in a process of its own, with verbs: `start`, `kill`, `terminate`."""

    def __init__(self, home: Path, config: Mapping[str, object] | None = None) -> None:
        self.home = home
        self.config = home / "pdp.yaml"
        self.config.write_text(json.dumps({"data_dir": str(home / "d"), "drain": "5s"} | dict(config or {})))
        self.decision_target = f"unix:{home}/d/pdp.sock"
        self.admin_target = f"unix:{home}/d/admin.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once started."""
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self.home / "log").read_text()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and do not wait for it."""
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "pdp"), "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
            )
        return self._process

    async def start(self) -> None:
        """Start the process and wait until it serves."""
        self.launch()
        async with asyncio.timeout(PATIENCE_S):
            while not await self._serves():
                assert self.process.poll() is None, self.log
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """End the process at once, and wait until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for the end; return the exit code."""
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)

    def connect(self) -> Channels:
        """Return connections, to be closed by the caller."""
        return Channels(self.decision_target, self.admin_target)

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    async def _serves(self) -> bool:
        channels = self.connect()
        try:
            answer = await channels.health.Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return False
        else:
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        finally:
            await channels.close()


def large() -> list[AnyFact]:
    """Return facts that one message holds, but no page the record of their change: JSON escapes what they say."""
    return [Identity(id=f"large-{n}", kind=IdentityKind.WORKLOAD, labels={"note": '"' * 2000}) for n in range(1100)]


def world() -> list[AnyFact]:
    """Return facts under which `check()` is granted: worker, task job, session s-1 with approval chg-1."""
    now = Instant(time.time_ns())
    actions, resources = ActionScope(["rows.*"]), ResourceScope(["database:**"])
    return [
        Identity(id="worker", kind=IdentityKind.WORKLOAD, owner="team-a"),
        Entitlement(
            id="ent-1",
            identity=IdentityScope(["worker"]),
            actions=actions,
            resources=resources,
            certified_by="approver",
            certified_until=Instant(now + 24 * HOUR),
        ),
        Task(id="job"),
        Approval(
            id="chg-1",
            state=ApprovalState.APPROVED,
            ticket="CHG-1",
            requested_by="requester",
            approved_by="approver",
            actions=actions,
            resources=resources,
            not_before=Instant(now - HOUR),
            expires_at=Instant(now + HOUR),
        ),
        session("s-1", approval="chg-1"),
    ]


def session(id_: str, **changes: object) -> Session:
    """Return a session of the worker, open for an hour."""
    now = time.time_ns()
    fields: dict[str, object] = {
        "identity": "worker",
        "task": "job",
        "entitlement": "ent-1",
        "actions": ActionScope(["rows.*"]),
        "resources": ResourceScope(["database:**"]),
        "not_before": Instant(now - HOUR),
        "expires_at": Instant(now + HOUR),
    }
    return Session(id=id_, **(fields | changes))  # type: ignore[arg-type]


def check(**changes: object) -> pb.CheckRequest:
    """Return a request that the world grants."""
    fields: dict[str, object] = {
        "subject": pb.Subject(id="worker"),
        "action": pb.Action(name="rows.read"),
        "resource": pb.Resource(type="database", id="prod/users"),
        "session_id": "s-1",
    }
    return pb.CheckRequest(**(fields | changes))  # type: ignore[arg-type]


def code_of(decision: pb.Decision) -> str:
    """Return the primary code of a decision."""
    return reasons_pb2.ReasonCode.Name(decision.reasons[0].code).removeprefix("REASON_CODE_")


def codes_of(decisions: Sequence[pb.Decision]) -> list[str]:
    """Return the primary code of each decision."""
    return [code_of(decision) for decision in decisions]


class Refused:
    """An error that a call ended with, as far as clients read it."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details() or ""
        self.reason = self.domain = ""
        self.metadata: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self.rules: dict[str, str] = {}
        """What stands against a command: messages with their remedies by rule."""
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # has what it asks for
        for detail in status.details if status is not None else ():
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            failed = error_details_pb2.PreconditionFailure()
            if detail.Unpack(info):
                self.reason, self.domain, self.metadata = info.reason, info.domain, dict(info.metadata)
            elif detail.Unpack(bad):
                self.fields = {violation.field: violation.description for violation in bad.field_violations}
            elif detail.Unpack(failed):
                self.rules = {violation.type: violation.description for violation in failed.violations}


async def refusal(call: object) -> Refused:
    """Return the error that a call ends with."""
    try:
        await call  # type: ignore[misc]  # a call of any kind
    except grpc.aio.AioRpcError as error:
        return Refused(error)
    message = "the call was answered"
    raise AssertionError(message)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # whoever makes it true knows nothing of tests
            await asyncio.sleep(0.005)
