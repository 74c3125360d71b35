"""A policy is tightened while a thousand sessions are open: every next call obeys it, and no session is rewritten."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import governance_pb2

from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Running, as_principal, check, codes_of, until

SESSIONS = [f"open-{number}" for number in range(1000)]
MATCH = 'policy: production\nmatch: {actions: ["rows.*"], resources: ["database:prod/**"]}\n'
LOOSE = "limit: {session_ttl: 2h}\n"
TIGHTER = {
    "a shorter session": ("limit: {session_ttl: 10m}", "POLICY_LIMIT"),
    "a shorter approval": ("limit: {approval_ttl: 10m}", "POLICY_LIMIT"),
    "consent, of another kind": ("require: {approval: {kinds: [break_glass]}}", "APPROVAL_REQUIRED"),
    "consent of two people": ("require: {approval: {approvers: 2}}", "APPROVAL_REQUIRED"),
    "consent of a group": ("require: {approval: {groups: [board]}}", "APPROVAL_REQUIRED"),
    "consent on a ticket": ("require: {approval: {ticket: 'CHG-\\d{6}'}}", "TICKET_REQUIRED"),
    "a freeze": ("deny: [{name: freeze, cel: 'action.name == \"rows.read\"'}]", "POLICY_DENIED"),
    "an attribute": ("require: {context: [{name: place, cel: 'context.place == \"office\"'}]}", "CONTEXT_MISSING"),
}


async def say(server: Running, home: Path, text: str) -> None:
    """Write the policy, and wait until the running sidecar has taken it up from its file."""
    before = server.sidecar.snapshot.policies.version
    (home / "policies" / "production.yaml").write_text(MATCH + text)
    await until(lambda: server.sidecar.snapshot.policies.version != before)


async def answers(server: Running) -> set[str]:
    """Return what is answered under all sessions, each asked once."""
    request = pb.CheckBatchRequest(checks=[check(session_id=id_) for id_ in SESSIONS])
    decisions = (await server.decisions.CheckBatch(request, timeout=PATIENCE_S)).decisions
    assert len(decisions) == len(SESSIONS)
    return set(codes_of(decisions))


async def facts(server: Running) -> list[bytes]:
    """Return all facts as they are, with the revision that wrote each."""
    found: list[bytes] = []
    token = ""
    while True:
        request = governance_pb2.ListFactsRequest(page_token=token)
        page = await server.governance.ListFacts(request, timeout=PATIENCE_S)
        found += [fact.SerializeToString(deterministic=True) for fact in page.facts]
        if not (token := page.next_page_token):
            return found


async def open_all(server: Running, approval: str) -> None:
    """Open all sessions by command, some at a time."""

    async def open_some(ids: list[str]) -> None:
        for id_ in ids:
            request = governance_pb2.OpenSessionRequest(
                id=id_,
                identity="worker",
                task="job",
                entitlement="ent-1",
                approval=approval,
                actions=["rows.read"],
                resources=["database:prod/**"],
            )
            metadata = as_principal("release-manager")
            await server.governance.OpenSession(request, timeout=PATIENCE_S, metadata=metadata)

    await asyncio.gather(*(open_some(SESSIONS[number::20]) for number in range(20)))


async def serve_loosely(serve: Serve, home: Path, approval: str) -> Running:
    """Serve a thousand open sessions under a policy that all of them satisfy."""
    (home / "policies").mkdir()
    (home / "policies" / "production.yaml").write_text(MATCH + LOOSE)
    server = await serve(changes={"policies": [str(home / "policies")]})
    await open_all(server, approval)
    assert await answers(server) == {"GRANTED"}
    return server


async def test_no_approval_suffices_no_more_once_one_is_required(serve: Serve, home: Path) -> None:
    """Sessions that were opened without any."""
    server = await serve_loosely(serve, home, "")
    before = await facts(server)
    await say(server, home, "require: {approval: {}}")
    assert await answers(server) == {"APPROVAL_REQUIRED"}
    await say(server, home, LOOSE)
    assert await answers(server) == {"GRANTED"}
    assert await facts(server) == before


async def test_every_next_call_obeys_a_tightened_policy(serve: Serve, home: Path) -> None:
    """And is allowed again once it is relaxed; no fact was written meanwhile, and no revision made."""
    server = await serve_loosely(serve, home, "chg-1")
    before, revision = await facts(server), server.sidecar.snapshot.revision
    found = {}
    for what, (text, _) in TIGHTER.items():
        await say(server, home, text)
        found[what] = await answers(server)
        await say(server, home, LOOSE)
        assert await answers(server) == {"GRANTED"}
    assert found == {what: {code} for what, (_, code) in TIGHTER.items()}
    assert (await facts(server), server.sidecar.snapshot.revision) == (before, revision)
