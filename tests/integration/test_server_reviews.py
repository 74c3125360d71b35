"""Reviews over gRPC: what is due is listed with a proposal, and the reviewer's choice bites on the next decision."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from msgspec.structs import replace
from sessionpdp.v1 import decision_pb2, reasons_pb2
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.model import Approval, ApprovalKind, ApprovalState, Duration, Entitlement, Instant
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.wording import SECOND
from pdp.doors.wire import timestamp
from pdp.governance.review_queue import ReviewTimes
from tests.integration.conftest import Serve
from tests.integration.serving import HOUR, PATIENCE_S, Channels, as_principal, check, refusal, session, world

MINUTE, DAY = 60 * SECOND, 24 * HOUR
REVIEWER = "head-of-payments"
KEEP, NARROW, REMOVE = pb.REVIEW_CHOICE_KEEP, pb.REVIEW_CHOICE_NARROW, pb.REVIEW_CHOICE_REMOVE
EMERGENCIES = """\
policy: emergencies
match: {actions: ["schema.*"], resources: ["database:**"]}
require: {approval: {kinds: [standard, break_glass]}}
"""


def entitlement(id_: str, *, reviewed: int, until: int) -> Entitlement:
    """Return an entitlement of the worker's, reviewed some time ago and certified for some time to come."""
    now = time.time_ns()
    return Entitlement(
        id=id_,
        identity=IdentityScope(["worker"]),
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:**"]),
        certified_by="security",
        certified_until=Instant(now + until),
        reviewed_at=Instant(now - reviewed),
    )


def emergency(id_: str) -> Approval:
    """Return an emergency that is to be reviewed within a day."""
    now = time.time_ns()
    return Approval(
        id=id_,
        kind=ApprovalKind.BREAK_GLASS,
        state=ApprovalState.APPROVED,
        requested_by="on-call-engineer",
        approved_by="on-call-engineer",
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:**"]),
        not_before=Instant(now - HOUR),
        expires_at=Instant(now + HOUR),
        review_due=Instant(now + DAY),
    )


async def listed(server: Channels, cause: int = pb.REVIEW_CAUSE_UNSPECIFIED) -> dict[str, pb.Review]:
    """Return the reviews that are due, by id."""
    request = pb.ListReviewsRequest(cause=cause)  # type: ignore[arg-type]  # a value of the enum
    answer = await server.governance.ListReviews(request, timeout=PATIENCE_S, metadata=as_principal("auditor"))
    return {review.id: review for review in answer.reviews}


async def reviewed(server: Channels, id_: str) -> pb.Review:
    """Return what there is to say about a fact."""
    request = pb.GetReviewRequest(review_id=id_)
    metadata = as_principal(REVIEWER)
    return (await server.governance.GetReview(request, timeout=PATIENCE_S, metadata=metadata)).review


async def once_used(server: Channels, id_: str) -> pb.Review:
    """Wait until the use of a fact is on disk, and so in its review."""
    async with asyncio.timeout(PATIENCE_S):
        while not (review := await reviewed(server, id_)).usage.count:  # noqa: ASYNC110  # the disk tells nobody
            await asyncio.sleep(0.005)
    return review


async def decide(server: Channels, id_: str, choice: int, **more: object) -> pb.DecideReviewResponse:
    """Decide a review as the reviewer."""
    request = pb.DecideReviewRequest(review_id=id_, choice=choice, reason="a test", **more)  # type: ignore[arg-type]
    return await server.governance.DecideReview(request, timeout=PATIENCE_S, metadata=as_principal(REVIEWER))


async def described(server: Channels, id_: str, **more: int) -> pb.DescribeSessionResponse:
    """Return a session's story."""
    request = pb.DescribeSessionRequest(session_id=id_, **more)
    metadata = as_principal("auditor")
    return await server.governance.DescribeSession(request, timeout=PATIENCE_S, metadata=metadata)


def code(name: str) -> int:
    """Return the number of a reason code."""
    return reasons_pb2.ReasonCode.Value(f"REASON_CODE_{name}")


async def test_an_entitlement_unused_for_long_is_proposed_for_removal_and_removed(serve: Serve) -> None:
    """And its sessions end with it."""
    server = await serve(changes={"reviews": ReviewTimes(unused_after=Duration(2 * DAY))})
    await server.apply(
        entitlement("old", reviewed=2 * DAY, until=90 * DAY),
        entitlement("new", reviewed=1 * DAY, until=90 * DAY),
        session("s-old", entitlement="old"),
    )
    due = await listed(server, pb.REVIEW_CAUSE_UNUSED)
    assert {id_: review.proposal.choice for id_, review in due.items()} == {"entitlement:old": REMOVE}
    await decide(server, "entitlement:old", REMOVE)
    assert await server.check(session_id="s-old") == "ENTITLEMENT_UNKNOWN"
    assert await listed(server, pb.REVIEW_CAUSE_UNUSED) == {}


async def test_an_entitlement_that_was_used_is_not_due(serve: Serve) -> None:
    """The use of a moment ago counts."""
    server = await serve(changes={"reviews": ReviewTimes(unused_after=Duration(2 * DAY))})
    await server.apply(entitlement("old", reviewed=2 * DAY, until=90 * DAY), session("s-old", entitlement="old"))
    assert await server.check(session_id="s-old") == "GRANTED"
    await once_used(server, "entitlement:old")
    assert await listed(server, pb.REVIEW_CAUSE_UNUSED) == {}


async def test_a_session_broader_than_used_is_narrowed_and_obeyed_at_once(serve: Serve) -> None:
    """To the very thing it was used for, unless the reviewer says to what."""
    server = await serve(changes={"reviews": ReviewTimes(broad_after=Duration(30 * MINUTE))})
    now = time.time_ns()
    young, old = Instant(now - 20 * MINUTE), Instant(now - 40 * MINUTE)
    await server.apply(session("s-young", not_before=young), session("s-old", not_before=old))
    assert await server.check(session_id="s-old") == "GRANTED"
    review = await once_used(server, "session:s-old")
    due = await listed(server, pb.REVIEW_CAUSE_BROADER_THAN_USED)
    assert {id_: len(review.usage.uses) for id_, review in due.items()} == {"session:s-old": 0, "session:s-1": 0}
    assert (review.usage.count, review.proposal.choice) == (1, NARROW)
    assert (*review.proposal.actions, *review.proposal.resources) == ("rows.read", "database:prod/users")
    done = await decide(server, "session:s-old", NARROW, revision=review.fact.revision)
    assert list(done.facts[0].session.resources) == ["database:prod/users"]
    other = decision_pb2.Resource(type="database", id="prod/payments")
    assert await server.check(session_id="s-old", resource=other) == "RESOURCE_OUT_OF_SCOPE"
    assert await server.check(session_id="s-old") == "GRANTED"
    assert "session:s-old" not in await listed(server)


async def test_a_review_sent_again_is_decided_once(serve: Serve) -> None:
    """Also if more was used meanwhile, so that something else would be proposed."""
    server = await serve()
    assert await server.check() == "GRANTED"
    await once_used(server, "session:s-1")
    done = await decide(server, "session:s-1", NARROW, idempotency_key="k-1")
    again = await decide(server, "session:s-1", NARROW, idempotency_key="k-1")
    assert (again.already_done, again.revision) == (True, done.revision)


async def test_a_certification_is_due_ahead_of_its_end(serve: Serve) -> None:
    """Kept, it is certified by the reviewer until the date named."""
    server = await serve(changes={"reviews": ReviewTimes(certify_ahead=Duration(2 * DAY))})
    await server.apply(
        entitlement("soon", reviewed=HOUR, until=DAY),
        entitlement("later", reviewed=HOUR, until=3 * DAY),
        entitlement("ent-1", reviewed=HOUR, until=90 * DAY),
    )
    assert list(await listed(server, pb.REVIEW_CAUSE_CERTIFICATION_DUE)) == ["entitlement:soon"]
    until = timestamp(Instant(time.time_ns() + 90 * DAY))
    done = await decide(server, "entitlement:soon", KEEP, until=until)
    certified = done.facts[0].entitlement
    assert (certified.certified_by, certified.certified_until) == (REVIEWER, until)
    assert await listed(server, pb.REVIEW_CAUSE_CERTIFICATION_DUE) == {}


async def test_a_break_glass_is_reviewed_after(serve: Serve, home: Path) -> None:
    """Taken without consent, it is in the queue until somebody else has looked at it."""
    (home / "p").mkdir()
    (home / "p" / "emergencies.yaml").write_text(EMERGENCIES)
    server = await serve(changes={"policies": [str(home / "p")]})
    altering = replace(entitlement("alter", reviewed=0, until=DAY), actions=ActionScope(["schema.*"]))
    await server.apply(altering)
    taken = pb.TakeBreakGlassRequest(
        id="bg-1",
        identity="worker",
        entitlement="alter",
        actions=["schema.alter"],
        resources=["database:prod/users"],
        incident="INC-7",
        reason="the site is down",
    )
    await server.governance.TakeBreakGlass(taken, timeout=PATIENCE_S, metadata=as_principal("on-call-engineer"))
    alter = check(session_id="bg-1", action=decision_pb2.Action(name="schema.alter"))
    assert await server.check(alter) == "GRANTED_BREAK_GLASS"
    await once_used(server, "approval:bg-1")
    review = (await listed(server, pb.REVIEW_CAUSE_BREAK_GLASS))["approval:bg-1"]
    assert (review.overdue, review.proposal.choice, review.usage.count) == (False, KEEP, 1)
    await decide(server, "approval:bg-1", KEEP)
    assert await listed(server, pb.REVIEW_CAUSE_BREAK_GLASS) == {}
    assert await server.check(alter) == "GRANTED_BREAK_GLASS"


async def test_an_emergency_that_is_not_kept_is_revoked(serve: Serve) -> None:
    """The very next check obeys it."""
    server = await serve()
    await server.apply(emergency("bg-1"), session("s-bg", approval="bg-1"))
    assert await server.check(session_id="s-bg") == "GRANTED_BREAK_GLASS"
    await decide(server, "approval:bg-1", REMOVE)
    assert await server.check(session_id="s-bg") == "APPROVAL_REVOKED"


async def test_what_is_not_reviewed_is_not_found(serve: Serve) -> None:
    """An ordinary approval, or nothing at all."""
    server = await serve()
    for id_ in ("approval:chg-1", "session:none", "task:job", ""):
        refused = await refusal(reviewed(server, id_))
        assert refused.code is grpc.StatusCode.NOT_FOUND


async def test_a_stale_review_is_refused(serve: Serve) -> None:
    """With the rule, and what would satisfy it."""
    server = await serve()
    refused = await refusal(decide(server, "session:s-1", REMOVE, revision=99))
    assert (refused.reason, refused.metadata["rule"]) == ("CHANGE_REFUSED", "WRONG_STATE")
    assert "has changed since you looked" in refused.message


async def test_nothing_is_reviewed_by_who_owns_it(serve: Serve) -> None:
    """Whatever role they have."""
    server = await serve(facts=False)
    await server.apply(*(replace(fact, owner=REVIEWER) if fact.id == "worker" else fact for fact in world()))  # type: ignore[call-arg]
    refused = await refusal(decide(server, "session:s-1", REMOVE))
    assert refused.metadata["rule"] == "FOUR_EYES"


async def test_a_session_s_story_is_told_whole(serve: Serve) -> None:
    """Who, for what task, under which ticket, how it was used and decided, and how it ended."""
    server = await serve()
    opening = pb.OpenSessionRequest(
        id="s-9",
        identity="worker",
        task="job",
        entitlement="ent-1",
        approval="chg-1",
        actions=["rows.read"],
        resources=["database:prod/**"],
        reason="the release",
    )
    await server.governance.OpenSession(opening, timeout=PATIENCE_S, metadata=as_principal("release-manager"))
    await server.apply(session("s-child", parent="s-9", not_before=Instant(time.time_ns())))
    assert await server.check(session_id="s-9") == "GRANTED"
    assert await server.check(session_id="s-9", action=decision_pb2.Action(name="rows.write")) == "ACTION_OUT_OF_SCOPE"
    await once_used(server, "session:s-9")
    await server.revoke("owner", "team-a")
    assert await server.check(session_id="s-9") == "IDENTITY_UNOWNED"
    await server.revoke("task", "job")  # a durable record, behind which all those before are on disk
    story = await described(server, "s-9")
    assert (story.session.opened_by, story.identity.owner, story.task.id) == ("release-manager", "team-a", "job")
    assert (story.approval.ticket, story.entitlement.id) == ("CHG-1", "ent-1")
    assert [(one.method, one.actor, one.reason) for one in story.changes] == [
        ("ApplyFacts", "local", "a test"),  # the approval
        ("OpenSession", "release-manager", "the release"),
        ("Revoke", "local", "a test"),  # of the task
    ]
    assert (story.usage.count, story.usage.uses[0].action, story.allowed, story.denied) == (1, "rows.read", 1, 2)
    assert [one.code for one in story.decisions] == [
        code("IDENTITY_UNOWNED"),
        code("ACTION_OUT_OF_SCOPE"),
        code("GRANTED"),
    ]
    assert {one.target_id for one in story.revocations} == {"team-a", "job"}
    assert [one.rule for one in story.end] == ["IDENTITY_UNOWNED", "TASK_REVOKED"]
    child = await described(server, "s-child", decisions=1)
    assert [one.id for one in child.ancestors] == ["s-9"]


async def test_a_session_that_is_live_has_no_end(serve: Serve) -> None:
    """And one that begins later says so."""
    server = await serve()
    await server.apply(session("s-later", not_before=Instant(time.time_ns() + HOUR // 2)))
    assert list((await described(server, "s-1")).end) == []
    assert [one.rule for one in (await described(server, "s-later")).end] == ["SESSION_NOT_STARTED"]


async def test_an_unknown_session_has_no_story(serve: Serve) -> None:
    """As any fact that is not known."""
    server = await serve()
    assert (await refusal(described(server, "none"))).code is grpc.StatusCode.NOT_FOUND


async def test_an_entitlement_is_not_kept_without_a_date(serve: Serve) -> None:
    """It is a field that lacks, not a rule that refuses."""
    server = await serve()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await decide(server, "entitlement:ent-1", KEEP)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "until is required to keep or narrow an entitlement" in str(caught.value.details()).replace("`", "")
