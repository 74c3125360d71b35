"""Every command can be tried first, and every refusal says which rule stands against it and what would satisfy it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration as Span
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sessionpdp.v1 import facts_pb2, governance_pb2

from pdp.clock import ManualClock
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    IdentityState,
    Instant,
    Revocation,
    RevocationTarget,
    SessionState,
    Task,
    TaskState,
)
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.wording import SECOND
from pdp.governance.refusal import Rule
from pdp.governance.table import ROWS
from tests.integration.conftest import Serve
from tests.integration.serving import (
    HOUR,
    PATIENCE_S,
    Refused,
    Running,
    as_principal,
    refusal,
    session,
    world,
)

NOW = time.time_ns()
ROWS_ALL, READ = ActionScope(["rows.*"]), ["rows.read"]
POLICIES = {
    "vault": """\
policy: vault
match: {actions: ["rows.*"], resources: ["vault:**"]}
require: {approval: {kinds: [standard, break_glass]}}
limit: {break_glass_ttl: 30m, approval_ttl: 2h}
""",
    "queue": """\
policy: queue
match: {actions: ["rows.*"], resources: ["queue:**"]}
require: {approval: {groups: [board]}}
""",
    "ledger": """\
policy: ledger
match: {actions: ["rows.*"], resources: ["ledger:**"]}
require: {approval: {independent: true, ticket: 'CHG-\\d+'}}
""",
}


class Try(NamedTuple):
    """A command, by whom."""

    method: str
    by: str
    fields: Mapping[str, object]

    def message(self, *, dry_run: bool) -> Message:
        """Return its request."""
        manner = {"reason": "a test", "dry_run": dry_run}
        message: Message = getattr(governance_pb2, f"{self.method}Request")(**{**manner, **self.fields})
        return message


def at(ahead: int) -> Timestamp:
    """Return an instant so far ahead."""
    instant = Timestamp()
    instant.FromNanoseconds(NOW + ahead)
    return instant


def lasting(nanoseconds: int) -> Span:
    """Return a duration."""
    span = Span()
    span.FromNanoseconds(nanoseconds)
    return span


def approval(id_: str, **changes: object) -> Approval:
    """Return one that the release-manager has asked for and the change-manager has given, for an hour and more."""
    fields: dict[str, object] = {
        "state": ApprovalState.APPROVED,
        "identity": "worker",
        "requested_by": "release-manager",
        "approved_by": "change-manager",
        "ticket": "CHG-7",
        "actions": ROWS_ALL,
        "resources": ResourceScope(["**"]),
        "not_before": Instant(NOW - HOUR),
        "expires_at": Instant(NOW + HOUR),
    }
    return Approval(id=id_, **(fields | changes))  # type: ignore[arg-type]


def entitlement(id_: str, identity: str = "worker", **changes: object) -> Entitlement:
    """Return one for everything, certified for a day."""
    fields: dict[str, object] = {"certified_until": Instant(NOW + 24 * HOUR)}
    return Entitlement(
        id=id_,
        identity=IdentityScope([identity]),
        actions=ROWS_ALL,
        resources=ResourceScope(["**"]),
        **(fields | changes),  # type: ignore[arg-type]
    )


def revoked(target: RevocationTarget, id_: str) -> Revocation:
    """Return a revocation in force."""
    return Revocation(
        id=f"of-{id_}", target=target, target_id=id_, effective_at=Instant(NOW), reason="a test", revoked_by="security"
    )


def identity(id_: str, **changes: object) -> list[AnyFact]:
    """Return an identity with an entitlement of its own."""
    fields: dict[str, object] = {"kind": IdentityKind.WORKLOAD, "owner": "team-a"}
    return [Identity(id=id_, **(fields | changes)), entitlement(f"ent-{id_}", id_)]  # type: ignore[arg-type]


FACTS: list[AnyFact] = [
    *world(),
    *identity("asleep", state=IdentityState.SUSPENDED),
    *identity("gone", state=IdentityState.RETIRED),
    *identity("nobodys", owner=""),
    *identity("banned"),
    *identity("hasty"),
    entitlement("everything"),
    entitlement("own", granted_by="head-of-payments"),
    entitlement("lapsed", certified_until=None),
    entitlement("withheld"),
    approval("pending", state=ApprovalState.PENDING, approved_by="", resources=ResourceScope(["database:**"])),
    approval("pending-queue", state=ApprovalState.PENDING, approved_by="", resources=ResourceScope(["queue:**"])),
    approval("rejected", state=ApprovalState.REJECTED, approved_by=""),
    approval("withdrawn", state=ApprovalState.WITHDRAWN),
    approval("over", expires_at=Instant(NOW - 1)),
    approval("later", not_before=Instant(NOW + HOUR // 2)),
    approval("own-consent", approved_by="release-manager", identity=""),
    approval("no-ticket", ticket=""),
    approval("long", expires_at=Instant(NOW + 3 * HOUR)),
    approval("emergency", kind=ApprovalKind.BREAK_GLASS, review_due=Instant(NOW + HOUR), approved_by="release-manager"),
    approval(
        "overdue", kind=ApprovalKind.BREAK_GLASS, identity="hasty", review_due=Instant(NOW), approved_by="security"
    ),
    Task(id="mine", owner="release-manager"),
    Task(id="done", state=TaskState.COMPLETED),
    Task(id="stopped"),
    session("short", expires_at=Instant(NOW + HOUR // 4)),
    session("closed", state=SessionState.CLOSED),
    session("expired", expires_at=Instant(NOW - 1)),
    session("idle", idle_timeout=Duration(SECOND)),
    session("used", max_uses=1),
    session("barred"),
    session("orphan", parent="closed"),
    revoked(RevocationTarget.IDENTITY, "banned"),
    revoked(RevocationTarget.SESSION, "barred"),
    revoked(RevocationTarget.TASK, "stopped"),
    revoked(RevocationTarget.ENTITLEMENT, "withheld"),
    revoked(RevocationTarget.CREDENTIAL, "key-1"),
]

MANAGER, SECURITY, REVIEWER = "release-manager", "security", "head-of-payments"
SCOPE: dict[str, object] = {"actions": READ, "resources": ["database:prod/**"]}
OPEN: dict[str, object] = {"id": "new", "identity": "worker", "task": "job", "entitlement": "everything", **SCOPE}
REQUEST: dict[str, object] = {"id": "new", "identity": "worker", "justification": "the release", **SCOPE}
BREAK: dict[str, object] = {
    "id": "new",
    "identity": "worker",
    "entitlement": "everything",
    "incident": "INC-1",
    "actions": READ,
    "resources": ["vault:keys"],
}
GOOD = [
    Try(
        "RegisterIdentity",
        SECURITY,
        {"id": "new", "kind": facts_pb2.IDENTITY_KIND_AI_AGENT, "owner": "team-a", "labels": {"tier": "1"}},
    ),
    Try("ChangeOwner", SECURITY, {"identity_id": "worker", "owner": "team-b"}),
    Try("SuspendIdentity", SECURITY, {"identity_id": "worker"}),
    Try("ReinstateIdentity", SECURITY, {"identity_id": "asleep"}),
    Try("RetireIdentity", SECURITY, {"identity_id": "worker", "credentials": ["key-2"]}),
    Try("GrantEntitlement", SECURITY, {"id": "new", "identity": "worker", **SCOPE}),
    Try("NarrowEntitlement", SECURITY, {"entitlement_id": "ent-1", "actions": READ}),
    Try("CertifyEntitlement", REVIEWER, {"entitlement_id": "ent-1", "until": at(HOUR)}),
    Try("RemoveEntitlement", SECURITY, {"entitlement_id": "ent-1"}),
    Try("RequestApproval", MANAGER, REQUEST),
    Try("Approve", "change-manager", {"approval_id": "pending"}),
    Try("Reject", "change-manager", {"approval_id": "pending"}),
    Try("Withdraw", MANAGER, {"approval_id": "pending"}),
    Try("TakeBreakGlass", MANAGER, BREAK),
    Try("OpenTask", MANAGER, {"id": "new"}),
    Try("CompleteTask", MANAGER, {"task_id": "mine"}),
    Try("CancelTask", MANAGER, {"task_id": "mine"}),
    Try("OpenSession", MANAGER, OPEN),
    Try("RenewSession", MANAGER, {"session_id": "short"}),
    Try("NarrowSession", MANAGER, {"session_id": "s-1", "actions": READ}),
    Try("CloseSession", MANAGER, {"session_id": "s-1"}),
    Try("DelegateSession", MANAGER, {"id": "new", "parent": "s-1", "identity": "worker", "entitlement": "ent-1"}),
    Try(
        "Revoke",
        SECURITY,
        {"id": "new", "target": facts_pb2.REVOCATION_TARGET_SESSION, "target_id": "s-1"},
    ),
    Try("LiftRevocation", "on-call-engineer", {"revocation_id": "of-key-1"}),
    Try(
        "DecideReview",
        REVIEWER,
        {"review_id": "approval:emergency", "choice": governance_pb2.REVIEW_CHOICE_KEEP},
    ),
]


def opening(**changes: object) -> Try:
    """Return the opening of a session that would be carried out but for the changes."""
    return Try("OpenSession", MANAGER, OPEN | changes)


def renewing(id_: str) -> Try:
    """Return the renewal of a session."""
    return Try("RenewSession", MANAGER, {"session_id": id_})


RULES = {
    Rule.NOT_FOUND: Try("SuspendIdentity", SECURITY, {"identity_id": "none"}),
    Rule.ALREADY_EXISTS: Try("OpenTask", MANAGER, {"id": "job"}),
    Rule.WRONG_STATE: Try("SuspendIdentity", SECURITY, {"identity_id": "asleep"}),
    Rule.FOUR_EYES: Try("CertifyEntitlement", REVIEWER, {"entitlement_id": "own", "until": at(HOUR)}),
    Rule.NOT_YOURS: Try("Withdraw", MANAGER, {"approval_id": "chg-1"}),
    Rule.GROUP_REQUIRED: Try("Approve", "change-manager", {"approval_id": "pending-queue"}),
    Rule.BREAK_GLASS_NOT_PERMITTED: Try("TakeBreakGlass", MANAGER, BREAK | SCOPE),
    Rule.NOT_NARROWER: Try("NarrowSession", MANAGER, {"session_id": "s-1", "actions": ["**"]}),
    Rule.KEY_REUSED: Try("OpenTask", MANAGER, {"id": "another", "idempotency_key": "once"}),
}
CODES = {
    Code.IDENTITY_UNKNOWN: opening(identity="none"),
    Code.IDENTITY_REVOKED: opening(identity="banned", entitlement="ent-banned"),
    Code.IDENTITY_RETIRED: opening(identity="gone", entitlement="ent-gone"),
    Code.IDENTITY_SUSPENDED: opening(identity="asleep", entitlement="ent-asleep"),
    Code.IDENTITY_UNOWNED: opening(identity="nobodys", entitlement="ent-nobodys"),
    Code.SESSION_REVOKED: renewing("barred"),
    Code.SESSION_CLOSED: renewing("closed"),
    Code.SESSION_EXPIRED: renewing("expired"),
    Code.SESSION_IDLE: renewing("idle"),
    Code.SESSION_EXHAUSTED: renewing("used"),
    Code.PARENT_SESSION_ENDED: renewing("orphan"),
    Code.TASK_UNKNOWN: opening(task="none"),
    Code.TASK_REVOKED: opening(task="stopped"),
    Code.TASK_ENDED: opening(task="done"),
    Code.ENTITLEMENT_UNKNOWN: opening(entitlement="none"),
    Code.ENTITLEMENT_REVOKED: opening(entitlement="withheld"),
    Code.ENTITLEMENT_LAPSED: opening(entitlement="lapsed"),
    Code.APPROVAL_REQUIRED: opening(resources=["vault:keys"]),
    Code.APPROVAL_UNKNOWN: opening(approval="none"),
    Code.APPROVAL_PENDING: opening(approval="pending"),
    Code.APPROVAL_REJECTED: opening(approval="rejected"),
    Code.APPROVAL_REVOKED: opening(approval="withdrawn"),
    Code.APPROVAL_NOT_STARTED: opening(approval="later"),
    Code.APPROVAL_EXPIRED: opening(approval="over"),
    Code.APPROVAL_NOT_INDEPENDENT: Try(
        "OpenSession", "on-call-engineer", OPEN | {"approval": "own-consent", "resources": ["ledger:a"]}
    ),
    Code.TICKET_REQUIRED: opening(approval="no-ticket", resources=["ledger:a"]),
    Code.REVIEW_OVERDUE: Try("TakeBreakGlass", MANAGER, BREAK | {"identity": "hasty", "entitlement": "ent-hasty"}),
    Code.ACTION_OUT_OF_SCOPE: opening(actions=["schema.alter"]),
    Code.RESOURCE_OUT_OF_SCOPE: opening(entitlement="ent-1", resources=["cluster:a"]),
    Code.POLICY_LIMIT: opening(ttl=lasting(25 * HOUR)),
}


@pytest.fixture
async def server(serve: Serve, home: Path) -> Running:
    """Return a sidecar whose time stands still."""
    (home / "policies").mkdir()
    for name, text in POLICIES.items():
        (home / "policies" / f"{name}.yaml").write_text(text)
    settings = {"policies": [str(home / "policies")]}
    server = await serve(clock=ManualClock(Instant(NOW)), facts=False, changes=settings)
    await server.apply(*FACTS)
    return server


async def call(server: Running, one: Try, *, dry_run: bool) -> governance_pb2.OpenTaskResponse:
    """Have a command carried out; every command's answer has the fields of this one's."""
    method = getattr(server.governance, one.method)
    answer: governance_pb2.OpenTaskResponse = await method(
        one.message(dry_run=dry_run), timeout=PATIENCE_S, metadata=as_principal(one.by)
    )
    return answer


async def refused(server: Running, one: Try, *, dry_run: bool) -> Refused:
    """Have a command refused."""
    return await refusal(call(server, one, dry_run=dry_run))


async def state(server: Running) -> tuple[int, list[bytes]]:
    """Return the revision and all facts."""
    page = await server.governance.ListFacts(governance_pb2.ListFactsRequest(), timeout=PATIENCE_S)
    return page.revision, [fact.SerializeToString(deterministic=True) for fact in page.facts]


def written(answer: governance_pb2.OpenTaskResponse) -> list[facts_pb2.Fact]:
    """Return what an answer says was written, whenever that was."""
    for fact in answer.facts:
        fact.revision = 0
    return list(answer.facts)


def test_every_command_is_tried() -> None:
    """A new one needs a situation here."""
    assert [one.method for one in GOOD] == [row.command.__name__ for row in ROWS]


@pytest.mark.parametrize("one", GOOD, ids=lambda one: one.method)
async def test_a_dry_run_tells_what_would_be_written_and_writes_nothing(server: Running, one: Try) -> None:
    """Byte for byte; the same command without it then writes just that."""
    before = await state(server)
    dry = await call(server, one, dry_run=True)
    assert (dry.revision, await state(server)) == (0, before)
    real = await call(server, one, dry_run=False)
    assert (real.revision, real.already_done) == (before[0] + 1, False)
    assert written(dry) == written(real)


async def test_every_refusal_names_its_rule_and_what_would_satisfy_it(server: Running) -> None:
    """A dry run is refused in the same words; and nothing is written either way."""
    await call(server, Try("OpenTask", MANAGER, {"id": "first", "idempotency_key": "once"}), dry_run=False)
    assert await server.check(session_id="used") == "GRANTED"
    before = await state(server)
    situations: Mapping[str, Try] = dict([*RULES.items(), *CODES.items()])
    found: dict[str, str] = {}
    for rule, one in situations.items():
        real, dry = await refused(server, one, dry_run=False), await refused(server, one, dry_run=True)
        assert (real.reason, real.metadata, real.message) == (dry.reason, dry.metadata, dry.message)
        assert real.message.endswith(f"; {real.metadata['remedy']}")
        assert all(real.metadata[name] for name in ("rule", "remedy"))
        assert all(real.rules.values())
        found[rule] = real.metadata["rule"]
    assert found == {rule: rule for rule in situations}
    assert await state(server) == before


def test_every_rule_has_a_situation() -> None:
    """A new one needs one here."""
    assert set(RULES) == set(Rule)
