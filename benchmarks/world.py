"""The facts, policies and questions of all workloads.

Every question is allowed, and every kind of check has something to look at: an identity with an owner, a session with
an idle timeout that was used before, a task, an entitlement that is certified until a date, an approval with a ticket
and an approver who is somebody else, twenty policies with limits, of which three cover the question, and revocations
that will expire. Questions are drawn over all sessions, so that none of them is hot in the processor's caches only
because it is asked all the time.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf import struct_pb2
from msgspec import Struct
from sessionpdp.v1 import decision_pb2 as pb

from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Approval,
    ApprovalState,
    Attribute,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Request,
    Revocation,
    RevocationTarget,
    Session,
    Task,
)
from pdp.core.policy.rules import PolicySet
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.wording import SECOND
from pdp.state.codec import Codec
from pdp.state.policy_files import load

HOUR = 3600 * SECOND
SESSIONS_PER_TASK = 10
SESSIONS_PER_IDENTITY = 100
TABLES = 50
POLICIES = 20
READ, WRITE = "rows.read", "rows.write"
"""An action whose evidence is buffered, and one whose evidence is durable."""
CONTEXT: dict[str, Attribute] = {"source_ip": "10.20.0.7", "purpose": "report"}

_CONDITIONS = (
    "{name: from the production network, cel: 'in_cidr(context.source_ip, \"10.0.0.0/8\")'}",
    "{name: for a purpose that is stated, cel: 'context.purpose != \"\"'}",
)

_POLICIES = """\
- policy: production-databases
  match: {{actions: ["rows.*"], resources: ["database:prod/**"]}}
  require:
    approval: {{kinds: [standard, break_glass], ticket: 'CHG-\\d+', independent: true}}
    context: [{conditions}]
  limit: {{session_ttl: 20h, idle_timeout: 9h}}
- policy: reading
  match: {{actions: ["*.read"], resources: ["database:**"]}}
  limit: {{session_ttl: 18h, delegation_depth: 2}}
- policy: writing
  match: {{actions: ["*.write"], resources: ["database:**"]}}
  limit: {{session_ttl: 18h, delegation_depth: 2}}
  evidence: durable
"""

_OTHER_POLICY = """\
- policy: service-{number}
  match: {{actions: ["service-{number}.*", "schema.alter"], resources: ["service:prod/{number}/**"]}}
  require: {{approval: {{kinds: [standard], ticket: 'CHG-\\d+', independent: true}}}}
  limit: {{session_ttl: 1h, idle_timeout: 10m}}
"""


class World(Struct, frozen=True):
    """How many sessions and revocations there are, and when."""

    sessions: int
    revocations: int
    now: Instant
    revocations_expire: bool = True
    """Whether revocations carry the time at which their target would have ended anyway, as they usually do."""


def facts(world: World) -> Iterator[AnyFact]:
    """Yield every fact of a world."""
    yield from basis(world)
    for number in range(world.sessions):
        yield session(number, world.now)
    for number in range(world.revocations):
        yield revocation(number, world)


def basis(world: World) -> Iterator[AnyFact]:
    """Yield what the sessions rest on: identities with entitlements, tasks with approvals."""
    for number in range(-(-world.sessions // SESSIONS_PER_IDENTITY)):
        yield from _identity_facts(number, world.now)
    for number in range(-(-world.sessions // SESSIONS_PER_TASK)):
        yield from _task_facts(number, world.now)


def _identity_facts(number: int, now: Instant) -> Iterator[AnyFact]:
    id_ = f"spiffe://example.org/job/{number}"
    yield Identity(id=id_, kind=IdentityKind.WORKLOAD, owner=f"team-{number % 50}")
    yield Entitlement(
        id=f"e-{number}",
        identity=IdentityScope([id_]),
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:prod/**"]),
        certified_by="ann",
        certified_until=Instant(now + 90 * 24 * HOUR),
    )


def _task_facts(number: int, now: Instant) -> Iterator[AnyFact]:
    yield Task(id=f"t-{number}", owner=f"team-{number % 50}")
    yield Approval(
        id=f"a-{number}",
        state=ApprovalState.APPROVED,
        ticket=f"CHG-{number}",
        requested_by="bob",
        approved_by="ann",
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:prod/**"]),
        not_before=Instant(now - HOUR),
        expires_at=Instant(now + 14 * HOUR),
    )


def session(number: int, now: Instant, id_: str = "") -> Session:
    """Return the session of a number; `id_` gives it another id."""
    return Session(
        id=id_ or f"s-{number}",
        identity=f"spiffe://example.org/job/{number // SESSIONS_PER_IDENTITY}",
        task=f"t-{number // SESSIONS_PER_TASK}",
        entitlement=f"e-{number // SESSIONS_PER_IDENTITY}",
        approval=f"a-{number // SESSIONS_PER_TASK}",
        actions=ActionScope([READ, WRITE]),
        resources=ResourceScope([f"database:prod/table-{number % TABLES}"]),
        not_before=Instant(now - HOUR),
        expires_at=Instant(now + 12 * HOUR),
        idle_timeout=Duration(8 * HOUR),
    )


def revocation(number: int, world: World) -> Revocation:
    """Return the revocation of a number, of a session or a credential that is gone."""
    return Revocation(
        id=f"r-{number}",
        target=RevocationTarget.SESSION if number % 2 else RevocationTarget.CREDENTIAL,
        target_id=f"gone-{number}",
        effective_at=Instant(world.now - HOUR),
        reason="the job was stopped",
        source="operations",
        expires_at=Instant(world.now + 12 * HOUR) if world.revocations_expire else None,
    )


def policy_text(conditions: int) -> str:
    """Return the policies but the baseline, in YAML; `conditions` of them are CEL and cover every question."""
    others = POLICIES - 1 - _POLICIES.count("policy:")
    return _POLICIES.format(conditions=", ".join(_CONDITIONS[:conditions])) + "".join(
        _OTHER_POLICY.format(number=number) for number in range(others)
    )


def policy_set(conditions: int) -> PolicySet:
    """Return the compiled policies, with the baseline."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policies.yaml"
        path.write_text(policy_text(conditions), encoding="utf-8")
        return load([path])


def snapshot_of(world: World) -> Snapshot:
    """Return a ready snapshot as the replica would leave it; every session was used once, a moment ago."""
    snapshot = Snapshot(policy_set(0))
    codec = Codec()
    for fact in facts(world):
        snapshot.put(codec.decode_fact(KIND_OF[type(fact)], codec.encode_fact(fact)))
    for used in tuple(snapshot.sessions.values()):
        snapshot.record_use((used.id,), (used.approval,), Instant(world.now - SECOND))
    snapshot.revision = 1
    snapshot.readiness = Readiness.READY
    return snapshot


def question(number: int) -> Request:
    """Return the question of the session of a number; all its texts are new, as they are when they come off a wire."""
    return Request(
        subject=f"spiffe://example.org/job/{number // SESSIONS_PER_IDENTITY}",
        action=READ,
        resource=f"database:prod/table-{number % TABLES}",
        session=f"s-{number}",
        context=CONTEXT,
    )


def questions(world: World, count: int, chance: random.Random) -> list[Request]:
    """Draw questions over all sessions."""
    return [question(chance.randrange(world.sessions)) for _ in range(count)]


def message(number: int, action: str = READ) -> pb.CheckRequest:
    """Return the same question as a message."""
    request = question(number)
    type_, _, id_ = request.resource.partition(":")
    check = pb.CheckRequest(
        subject=pb.Subject(type="workload", id=request.subject),
        action=pb.Action(name=action),
        resource=pb.Resource(type=type_, id=id_),
        session_id=request.session,
    )
    check.context.CopyFrom(_struct())
    return check


def messages(sessions: int, count: int, action: str = READ, seed: int = 7) -> Sequence[pb.CheckRequest]:
    """Draw messages over all sessions."""
    chance = random.Random(seed)
    return [message(chance.randrange(sessions), action) for _ in range(count)]


def _struct() -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(CONTEXT)
    return struct
