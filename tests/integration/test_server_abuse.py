"""What a careless or hostile principal asks for: refused or answered in words that arrive, and nobody else waits."""

from __future__ import annotations

import time

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import Message
from sessionpdp.v1 import facts_pb2
from sessionpdp.v1 import governance_pb2 as pb

from pdp.clock import ManualClock
from pdp.core.lawful import MAX_ID_BYTES, MAX_LISTED
from pdp.core.model import (
    Approval,
    ApprovalKind,
    ApprovalState,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.doors.facts_wire import message_of
from pdp.doors.wire import timestamp
from pdp.governance.roles import Role
from pdp.governance.tokens import hash_of
from pdp.settings import Administration, HashedToken, PrincipalSettings
from tests.integration.conftest import Serve
from tests.integration.serving import HOUR, PATIENCE_S, Running, as_principal, refusal, token_of

WIDE = "🦊" * 500
"""Two thousand bytes; six thousand in a header."""
MANY = [f"database:*/{number}" for number in range(MAX_LISTED + 1)]
VALUES = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=n) for n in range(MAX_LISTED + 1)])
ONE = struct_pb2.ListValue(values=[struct_pb2.Value(number_value=1)])

LOUD: dict[str, Message] = {
    "CompleteTask": pb.CompleteTaskRequest(task_id=WIDE),
    "OpenSession": pb.OpenSessionRequest(
        id=WIDE,
        identity=WIDE,
        task=WIDE,
        entitlement=WIDE,
        approval=WIDE,
        actions=[f"{WIDE}{number}" for number in range(10)],
        resources=[f"database:{number}{WIDE[10:]}" for number in range(10)],
    ),
    "ApplyFacts": pb.ApplyFactsRequest(facts=[facts_pb2.Fact(task=facts_pb2.Task(id=WIDE))] * 60),
}
TOO_MANY: dict[str, tuple[str, Message, str]] = {
    "patterns": (
        "RequestApproval",
        pb.RequestApprovalRequest(identity="worker", actions=["rows.read"], resources=MANY, justification="a"),
        "resources",
    ),
    "patterns of an import": (
        "ApplyFacts",
        pb.ApplyFactsRequest(
            facts=[
                facts_pb2.Fact(
                    entitlement=facts_pb2.Entitlement(id="e", identity="worker", actions=["rows.read"], resources=MANY)
                )
            ]
        ),
        "facts[0].entitlement.resources",
    ),
    "values": ("NarrowSession", pb.NarrowSessionRequest(session_id="s-1", constraints={"n": VALUES}), "constraints"),
    "constraints": (
        "NarrowSession",
        pb.NarrowSessionRequest(session_id="s-1", constraints={str(n): ONE for n in range(MAX_LISTED + 1)}),
        "constraints",
    ),
}


@pytest.mark.parametrize("method", sorted(LOUD))
async def test_an_error_arrives_whatever_it_names(server: Running, method: str) -> None:
    """It travels in metadata that peers bound; beyond that they would hear of the size, and not of the error."""
    metadata = as_principal("on-call-engineer") if method != "ApplyFacts" else as_principal("inventory")
    error = await refusal(getattr(server.governance, method)(LOUD[method], timeout=PATIENCE_S, metadata=metadata))
    assert (error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED, error.domain) == (True, "sessionpdp"), error.message
    assert error.rules or error.fields


@pytest.mark.parametrize("name", sorted(TOO_MANY))
async def test_more_than_decisions_can_look_at_is_refused_by_field(server: Running, name: str) -> None:
    """Before anything is compared with anything, for nobody else is answered meanwhile."""
    method, request, field = TOO_MANY[name]
    metadata = as_principal("inventory" if method == "ApplyFacts" else "release-manager")
    error = await refusal(getattr(server.governance, method)(request, timeout=PATIENCE_S, metadata=metadata))
    assert (error.code, field in error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, True), error.message


@pytest.mark.parametrize("reason", ["", " ", "\n \t"])
async def test_a_reason_says_something(server: Running, reason: str) -> None:
    """Where one is mandatory, blanks are none."""
    request = pb.RevokeRequest(target=facts_pb2.REVOCATION_TARGET_SESSION, target_id="s-1", reason=reason)
    error = await refusal(server.governance.Revoke(request, timeout=PATIENCE_S))
    assert (error.code, "reason" in error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, True)


def identities(count: int) -> list[Identity]:
    """Return identities with the longest names there are, of an owner who will leave."""
    return [
        Identity(id=f"{number:04}{'x' * 2000}", kind=IdentityKind.WORKLOAD, owner="team-gone")
        for number in range(count)
    ]


async def test_unowned_identities_are_told_as_far_as_an_answer_holds(server: Running) -> None:
    """In the order of their ids; the others follow once these are taken over."""
    await server.apply(*identities(1500))
    await server.apply(*[Identity(id=f"n{n}", kind=IdentityKind.WORKLOAD, owner="team-gone") for n in range(1500)])
    await server.revoke("owner", "team-gone")
    answer = await server.governance.ListUnownedIdentities(pb.ListUnownedIdentitiesRequest(), timeout=PATIENCE_S)
    found = [one.id for one in answer.identities]
    assert found == [one.id for one in identities(len(found))]
    assert 0 < len(found) <= 1000


def broad(number: int) -> Entitlement:
    """Return an entitlement that is due for certification, and about half a megabyte."""
    return Entitlement(
        id=f"broad-{number}",
        identity=IdentityScope(["worker"]),
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope([f"database:{n}/{'x' * 1900}" for n in range(MAX_LISTED)]),
        reviewed_at=Instant(time.time_ns() - HOUR),
    )


async def test_a_page_of_large_facts_is_shorter(server: Running) -> None:
    """So that it arrives; the next one goes on behind it."""
    for number in range(12):
        await server.apply(broad(number))
    asked, found = pb.ListFactsRequest(kind=facts_pb2.FACT_KIND_ENTITLEMENT), list[str]()
    while True:
        page = await server.governance.ListFacts(asked, timeout=PATIENCE_S)
        found += [fact.entitlement.id for fact in page.facts]
        asked.page_token = page.next_page_token
        if not asked.page_token:
            break
    assert sorted(found) == sorted(["ent-1", *(f"broad-{number}" for number in range(12))])
    reviews = await server.governance.ListReviews(pb.ListReviewsRequest(), timeout=PATIENCE_S)
    assert 0 < len(reviews.reviews) < 12


async def test_what_ends_much_at_once_is_acknowledged(server: Running) -> None:
    """With its own fact, and of the others as many as an answer holds."""
    many = [broad(number) for number in range(3)]
    for one in many:
        await server.apply(one)
    sessions = [
        facts_pb2.Session(
            id=f"big-{n}",
            identity="worker",
            task="job",
            entitlement=many[0].id,
            actions=["rows.read"],
            resources=many[0].resources.patterns,
            not_before=message_of(many[0]).entitlement.reviewed_at,
            expires_at=timestamp(Instant(time.time_ns() + HOUR)),
        )
        for n in range(12)
    ]
    for session in sessions:
        await server.governance.ApplyFacts(pb.ApplyFactsRequest(facts=[facts_pb2.Fact(session=session)]))
    request = pb.RetireIdentityRequest(identity_id="worker", reason="it is not needed any more")
    answer = await server.governance.RetireIdentity(request, timeout=PATIENCE_S)
    assert (answer.facts[0].identity.id, len(answer.facts) < 12) == ("worker", True)


async def test_a_clock_that_is_set_back_revives_no_token(serve: Serve) -> None:
    """A token ends in decision time, which never runs backward."""
    ends = Instant(time.time_ns() + HOUR)
    token = HashedToken(hash=hash_of(token_of("auditor")), expires_at=ends)
    principals = {"auditor": PrincipalSettings(roles=frozenset({Role.AUDITOR}), tokens=[token])}
    settings = {"administration": Administration(principals=principals)}
    server = await serve(facts=False, changes=settings, clock=ManualClock(ends))
    call = server.governance.GetPrincipal(
        pb.GetPrincipalRequest(), timeout=PATIENCE_S, metadata=as_principal("auditor")
    )
    assert (await refusal(call)).code is grpc.StatusCode.UNAUTHENTICATED


async def test_an_emergency_of_any_id_can_be_taken_back_by_review(server: Running) -> None:
    """Also if the id is the longest there is, and somebody has used the one of the revocation before."""
    now = time.time_ns()
    for id_ in ("i" * MAX_ID_BYTES, "short"):
        taken = Approval(
            id=id_,
            kind=ApprovalKind.BREAK_GLASS,
            state=ApprovalState.APPROVED,
            identity="worker",
            requested_by="on-call-engineer",
            approved_by="on-call-engineer",
            actions=ActionScope(["rows.*"]),
            resources=ResourceScope(["database:**"]),
            not_before=Instant(now),
            expires_at=Instant(now + HOUR),
            review_due=Instant(now + HOUR),
        )
        await server.apply(taken)
        await server.revoke("task", "none", id="approval/short/review" if id_ == "short" else "other")
        review = pb.DecideReviewRequest(
            review_id=f"approval:{id_}", choice=pb.REVIEW_CHOICE_REMOVE, reason="there was no incident"
        )
        answer = await server.governance.DecideReview(
            review, timeout=PATIENCE_S, metadata=as_principal("head-of-payments")
        )
        assert [fact.revocation.target_id for fact in answer.facts if fact.HasField("revocation")] == [id_]
