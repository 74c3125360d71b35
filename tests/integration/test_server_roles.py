"""Administration is denied by default, each check is on record, and a command sent twice is carried out once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from google.protobuf.message import Message
from msgspec.structs import replace
from sessionpdp.v1 import evidence_pb2, facts_pb2, governance_pb2_grpc
from sessionpdp.v1 import governance_pb2 as pb

from pdp.app import Sidecar
from pdp.core.model import Instant
from pdp.core.scope import IdentityScope
from pdp.governance.roles import Role
from pdp.governance.table import EVIDENCE, ROLES_OF
from pdp.governance.tokens import hash_of
from pdp.settings import Administration, HashedToken, PrincipalSettings, Settings, Tls
from tests.certificates import Authority
from tests.integration.conftest import Serve
from tests.integration.serving import (
    PATIENCE_S,
    Channels,
    Refused,
    Running,
    administration,
    as_principal,
    refusal,
    running,
    token_of,
    until,
    world,
)
from tests.ports import free_port

HOLDERS: Mapping[Role, str] = {
    Role.REQUESTER: "release-manager",
    Role.APPROVER: "change-manager",
    Role.OPERATOR: "security",
    Role.REVIEWER: "head-of-payments",
    Role.AUDITOR: "auditor",
    Role.IMPORTER: "inventory",
}
REGISTER = pb.RegisterIdentityRequest(id="robot", kind=facts_pb2.IDENTITY_KIND_AI_AGENT, owner="team-a")
REVOKE = pb.RevokeRequest(target=facts_pb2.REVOCATION_TARGET_SESSION, target_id="s-1", reason="odd traffic")


def call(channels: Channels, method: str, request: Message, principal: str = "") -> grpc.aio.UnaryUnaryCall:  # type: ignore[type-arg]
    """Call a method as a principal; without one as whoever the transport says."""
    stub = channels.evidence if method in EVIDENCE else channels.governance
    rpc: Callable[..., grpc.aio.UnaryUnaryCall] = getattr(stub, method)  # type: ignore[type-arg]
    return rpc(request, timeout=PATIENCE_S, metadata=as_principal(principal) if principal else None)


async def refused(channels: Channels, method: str, request: Message, principal: str = "") -> Refused:
    """Return the error that such a call ends with."""
    return await refusal(call(channels, method, request, principal))


async def turned_away(channels: Channels, method: str, principal: str) -> bool:
    """Whether a principal's role does not permit a method at all."""
    try:
        messages = evidence_pb2 if method in EVIDENCE else pb
        await call(channels, method, getattr(messages, f"{method}Request")(), principal)
    except grpc.aio.AioRpcError as error:
        found = Refused(error)
        assert found.code is not grpc.StatusCode.UNIMPLEMENTED, method
        return (found.code, found.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    return False


async def records(server: Running) -> list[dict[str, str]]:
    """Return the checks on record, the oldest first."""
    await until(lambda: server.sidecar.evidence.status().held == 0)
    paths = sorted(server.sidecar.settings.journal_dir.glob("*.jsonl"))
    entries = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [entry for entry in entries if entry["kind"] == "administration"]


@pytest.mark.parametrize("role", Role)
async def test_a_role_permits_its_methods_and_no_others(server: Running, role: Role) -> None:
    """As the table says, over the wire."""
    found = {name for name in ROLES_OF if await turned_away(server, name, HOLDERS[role])}
    assert found == {name for name, roles in ROLES_OF.items() if role not in roles}


async def test_who_has_no_role_may_do_nothing(server: Running) -> None:
    """Not even ask who it is; the answer names the roles that would do."""
    assert [name for name in ROLES_OF if not await turned_away(server, name, "newcomer")] == []
    error = await refused(server, "Approve", pb.ApproveRequest(approval_id="chg-1"), "newcomer")
    assert error.metadata == {"roles": "approver"}
    assert error.message == "`newcomer` has no role that permits `Approve`; `approver` would"


async def test_a_token_says_who_acts(server: Running) -> None:
    """Also on a socket, where the actor would be `local` without one."""
    own = await call(server, "GetPrincipal", pb.GetPrincipalRequest(), "on-call-engineer")
    local = await call(server, "GetPrincipal", pb.GetPrincipalRequest())
    assert (own.name, list(own.roles)) == ("on-call-engineer", ["operator", "requester"])
    assert (local.name, list(local.identities)) == ("local", ["**"])
    assert ("Approve" in local.methods, "OpenSession" in local.methods) == (False, True)


async def test_a_token_that_is_not_accepted_makes_nobody_local(server: Running) -> None:
    """Nor anybody else."""
    for sent in ("Bearer wrong", token_of("security"), ""):
        refusing = server.governance.Revoke(REVOKE, timeout=PATIENCE_S, metadata=(("authorization", sent),))
        assert (await refusal(refusing)).code is grpc.StatusCode.UNAUTHENTICATED
    assert await server.check() == "GRANTED"


async def test_a_token_that_has_expired_is_not_accepted(serve: Serve) -> None:
    """The error says so."""
    token = HashedToken(hash=hash_of(token_of("security")), expires_at=Instant(1))
    principals = {"security": PrincipalSettings(roles=frozenset({Role.OPERATOR}), tokens=[token])}
    server = await serve(changes={"administration": Administration(principals=principals)})
    error = await refused(server, "Revoke", REVOKE, "security")
    assert (error.code, error.message) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "the bearer token of `security` has expired",
    )


async def test_a_stranger_is_on_record(serve: Serve) -> None:
    """On a port nobody is `local`; health is for everybody."""
    server = await serve(facts=False, changes={"administration": administration(address=f"127.0.0.1:{free_port()}")})
    error = await refused(server, "Revoke", REVOKE)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED")
    found = [(one.get("actor", ""), one["method"], one["outcome"]) for one in await records(server)]
    assert found == [("", "Revoke", "not_permitted")]


async def test_a_principal_asks_for_its_identities_alone(serve: Serve) -> None:
    """That is not a matter of its role."""
    requester = PrincipalSettings(
        roles=frozenset({Role.REQUESTER}),
        identities=IdentityScope(["worker"]),
        tokens=[hash_of(token_of("release-manager"))],
    )
    server = await serve(changes={"administration": Administration(principals={"release-manager": requester})})
    asked = pb.RequestApprovalRequest(
        identity="worker", actions=["rows.read"], resources=["database:prod/users"], justification="a fix", ticket="C-1"
    )
    granted = await call(server, "RequestApproval", asked, "release-manager")
    assert granted.facts[0].approval.requested_by == "release-manager"
    asked.identity = "somebody-else"
    error = await refused(server, "RequestApproval", asked, "release-manager")
    assert (error.code, error.metadata["rule"]) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS")


async def test_a_refusal_says_which_rule_and_what_would_satisfy_it(server: Running) -> None:
    """For programs and for people."""
    error = await refused(server, "CompleteTask", pb.CompleteTaskRequest(task_id="nobody's"), "security")
    assert (error.code, error.reason, error.metadata["rule"], error.metadata["about"]) == (
        grpc.StatusCode.NOT_FOUND,
        "CHANGE_REFUSED",
        "NOT_FOUND",
        "task:nobody's",
    )
    assert error.message == f"task `nobody's` is not known; {error.metadata['remedy']}"
    assert error.rules == {"NOT_FOUND": error.message}


async def test_every_check_is_on_record(server: Running) -> None:
    """What was asked, turned away and refused; what was changed has its own record."""
    await call(server, "GetPrincipal", pb.GetPrincipalRequest(), "auditor")
    await refused(server, "Revoke", REVOKE, "auditor")
    await refused(server, "CompleteTask", pb.CompleteTaskRequest(task_id="nobody's"), "security")
    await call(server, "Revoke", REVOKE, "security")
    await refused(server, "Revoke", pb.RevokeRequest(), "security")
    found = [
        (one.get("actor"), one.get("role", ""), one["method"], one["outcome"], one.get("rule", ""))
        for one in await records(server)
    ]
    assert found == [
        ("auditor", "auditor", "GetPrincipal", "permitted", ""),
        ("auditor", "", "Revoke", "not_permitted", "ROLE_REQUIRED"),
        ("security", "operator", "CompleteTask", "refused", "NOT_FOUND"),
        ("security", "operator", "Revoke", "permitted", ""),
    ]


async def test_a_dry_run_says_what_would_be_and_writes_nothing(server: Running) -> None:
    """Neither a fact nor a change on record; but that it was asked is."""
    dry = pb.RegisterIdentityRequest()
    dry.CopyFrom(REGISTER)
    dry.dry_run = True
    answer = await call(server, "RegisterIdentity", dry, "security")
    assert (answer.revision, answer.facts[0].identity.id, answer.facts[0].revision) == (0, "robot", 0)
    unknown = pb.GetFactRequest(kind=facts_pb2.FACT_KIND_IDENTITY, id="robot")
    assert (await refused(server, "GetFact", unknown)).code is grpc.StatusCode.NOT_FOUND
    assert [(one["method"], one["outcome"]) for one in await records(server)] == [
        ("RegisterIdentity", "permitted"),
        ("GetFact", "permitted"),
    ]


async def test_a_command_is_answered_with_what_it_wrote(server: Running) -> None:
    """In force, at the revision it says."""
    answer = await call(server, "Revoke", REVOKE, "security")
    revocation = answer.facts[0].revocation
    assert (revocation.target_id, revocation.revoked_by, answer.facts[0].revision) == (
        "s-1",
        "security",
        answer.revision,
    )
    assert await server.check() == "SESSION_REVOKED"


async def test_a_command_sent_again_after_a_restart_is_carried_out_once(settings: Settings) -> None:
    """And answered as it was the first time; under its key nothing else is done."""
    keyed = pb.RevokeRequest()
    keyed.CopyFrom(REVOKE)
    keyed.idempotency_key = "inc-7"
    async with running(Sidecar(settings)) as server:
        await server.apply(*world())
        first = await call(server, "Revoke", keyed, "security")
    async with running(Sidecar(replace(settings))) as server:
        again = await call(server, "Revoke", keyed, "security")
        keyed.target_id = "s-2"
        other = await refused(server, "Revoke", keyed, "security")
        by_another = await call(server, "Revoke", keyed, "on-call-engineer")
    assert (again.revision, list(again.facts), again.already_done) == (first.revision, list(first.facts), True)
    assert other.metadata["rule"] == "KEY_REUSED"
    assert by_another.revision == first.revision + 1


async def test_an_import_sent_again_is_done_once(server: Running) -> None:
    """Also when what it wrote has ended meanwhile."""
    imported = pb.ApplyFactsRequest(facts=[facts_pb2.Fact(task=facts_pb2.Task(id="t"))], idempotency_key="k")
    first = await call(server, "ApplyFacts", imported)
    await call(server, "CompleteTask", pb.CompleteTaskRequest(task_id="t"))
    again = await call(server, "ApplyFacts", imported)
    assert (again.revision, again.already_done) == (first.revision, True)


async def test_an_import_lifts_no_revocation(server: Running) -> None:
    """A command does, by somebody else."""
    revocation = (await call(server, "Revoke", REVOKE, "security")).facts[0].revocation.id
    removal = pb.FactReference(kind=facts_pb2.FACT_KIND_REVOCATION, id=revocation)
    error = await refused(server, "ApplyFacts", pb.ApplyFactsRequest(removals=[removal]))
    assert (error.code, error.metadata["about"]) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        f"revocation:{revocation}",
    )
    lift = pb.LiftRevocationRequest(revocation_id=revocation, reason="a false alarm")
    assert (await refused(server, "LiftRevocation", lift, "security")).metadata["rule"] == "FOUR_EYES"
    await call(server, "LiftRevocation", lift, "on-call-engineer")
    assert await server.check() == "GRANTED"


async def test_revocations_are_listed_by_target(server: Running) -> None:
    """Page by page."""
    for id_ in ("s-1", "s-2", "s-3"):
        await server.revoke("session", id_)
    await server.revoke("task", "job")
    asked = pb.ListRevocationsRequest(target=facts_pb2.REVOCATION_TARGET_SESSION, page_size=2)
    first = await call(server, "ListRevocations", asked, "auditor")
    asked.page_token = first.next_page_token
    second = await call(server, "ListRevocations", asked, "auditor")
    assert (len(first.revocations) + len(second.revocations), second.next_page_token) == (3, "")
    one = await call(server, "ListRevocations", pb.ListRevocationsRequest(target_id="job"), "auditor")
    assert [revocation.target_id for revocation in one.revocations] == ["job"]


async def test_identities_that_nobody_answers_for_are_listed(server: Running) -> None:
    """Until somebody takes them over."""
    await server.revoke("owner", "team-a")
    unowned = await call(server, "ListUnownedIdentities", pb.ListUnownedIdentitiesRequest(), "auditor")
    await call(server, "ChangeOwner", pb.ChangeOwnerRequest(identity_id="worker", owner="team-b"), "security")
    none = await call(server, "ListUnownedIdentities", pb.ListUnownedIdentitiesRequest(), "auditor")
    assert ([one.id for one in unowned.identities], list(none.identities)) == (["worker"], [])


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (x509.UniformResourceIdentifier("spiffe://shop.example/ci/7"), "spiffe://shop.example/ci/7"),
        (x509.DNSName("pipeline.shop.example"), "pipeline"),
        (x509.UniformResourceIdentifier("spiffe://shop.example/stranger"), "somebody"),
    ],
    ids=["uri of a family", "dns name", "common name"],
)
async def test_a_certificate_says_who_acts(serve: Serve, home: Path, shown: x509.GeneralName, expected: str) -> None:
    """By its URI, its DNS names and its common name; a token goes before it."""
    authority, roles = Authority(), frozenset({Role.AUDITOR})
    principals = {
        "family": PrincipalSettings(roles=roles, certificates=["spiffe://shop.example/ci/*"]),
        "pipeline": PrincipalSettings(roles=roles, certificates=["dns:pipeline.shop.example"]),
        "auditor": PrincipalSettings(roles=roles, tokens=[hash_of(token_of("auditor"))]),
    }
    if expected == "somebody":
        principals["somebody"] = PrincipalSettings(roles=roles, certificates=["cn:somebody"])
    certificate, key, client_ca = map(str, authority.server_files(home))
    door = Administration(
        address=f"localhost:{free_port()}",
        tls=Tls(certificate=certificate, key=key, client_ca=client_ca),
        principals=principals,
    )
    await serve(facts=False, changes={"administration": door})
    own_key, own = authority.issue([shown])
    credentials = grpc.ssl_channel_credentials(authority.certificate, own_key, own)
    async with grpc.aio.secure_channel(door.address, credentials) as channel:
        stub: governance_pb2_grpc.GovernanceServiceAsyncStub = governance_pb2_grpc.GovernanceServiceStub(channel)
        asked = pb.GetPrincipalRequest()
        by_certificate = await stub.GetPrincipal(asked, timeout=PATIENCE_S)
        by_token = await stub.GetPrincipal(asked, timeout=PATIENCE_S, metadata=as_principal("auditor"))
        wrong = stub.GetPrincipal(asked, timeout=PATIENCE_S, metadata=as_principal("nobody"))
        assert (await refusal(wrong)).code is grpc.StatusCode.UNAUTHENTICATED
    assert (by_certificate.name, by_token.name) == (expected, "auditor")
