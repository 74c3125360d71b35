"""Whatever is asked, the handlers give an answer or an error of the door's own tree, and no allow out of nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import facts_pb2, governance_pb2

from pdp.clock import ManualClock
from pdp.core.model import Duration, Entitlement, Identity, IdentityKind, Instant, Session, Task
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.wording import SECOND
from pdp.doors.call import Call
from pdp.doors.decision_handlers import DecisionHandlers
from pdp.doors.decision_point import DecisionPoint
from pdp.doors.errors import DoorError
from pdp.doors.fact_handlers import FactHandlers
from pdp.doors.governance_handlers import CommandHandlers, ImportHandlers
from pdp.doors.governing import Governed
from pdp.doors.grpc_door import Method, Unary, decoded
from pdp.doors.review_handlers import ReviewHandlers
from pdp.doors.services import decision_methods, governance_methods
from pdp.doors.story_handlers import StoryHandlers
from pdp.doors.watching import WatchHub
from pdp.evidence.index.query import Page, Query
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.trace import Ids
from pdp.evidence.usage.usage_book import UsageBook
from pdp.governance.desk import Desk
from pdp.governance.review_queue import ReviewTimes
from pdp.governance.roles import Principal, Role
from pdp.state.memory import MemoryStore

NOW = Instant(1_700_000_000 * SECOND)
ALLOW = pb.OUTCOME_ALLOW
ANYBODY = Principal(name="anybody", roles=frozenset(Role), identities=IdentityScope(["**"]))


class AlwaysReady:
    """A state that is ready, and has all revisions but those far ahead."""

    def check_readiness(self) -> Readiness:
        """Say so."""
        return Readiness.READY

    @property
    def revision(self) -> int:
        """Be at the beginning."""
        return 0

    async def applied(self, revision: int, timeout_s: float) -> bool:
        """Wait for nothing."""
        return revision < 1000


class NoRecords:
    """An index of nothing."""

    def page(self, query: Query, token: str, size: int) -> Page:
        """Find nothing."""
        return Page((), "", 0)


def snapshot() -> Snapshot:
    """Return facts under which `worker` may read."""
    made = Snapshot()
    made.readiness = Readiness.READY
    actions, resources = ActionScope(["rows.*"]), ResourceScope(["database:**"])
    made.put(Identity(id="worker", kind=IdentityKind.WORKLOAD, owner="team"))
    made.put(Task(id="job"))
    certified = Instant(NOW + SECOND)
    worker = IdentityScope(["worker"])
    made.put(Entitlement(id="ent", identity=worker, actions=actions, resources=resources, certified_until=certified))
    made.put(
        Session(
            id="s-1",
            identity="worker",
            task="job",
            entitlement="ent",
            actions=actions,
            resources=resources,
            not_before=Instant(0),
            expires_at=Instant(NOW + SECOND),
            idle_timeout=Duration(SECOND),
            max_uses=3,
        )
    )
    return made


def methods() -> Mapping[str, Method]:
    """Return the methods of both services over parts in memory."""
    evidence, ids, clock, state = MemoryEvidence(), Ids(seed=b"x"), ManualClock(NOW), AlwaysReady()
    facts = snapshot()
    point = DecisionPoint(facts, state, clock, evidence, ids)
    decisions = DecisionHandlers(point, WatchHub(point, clock, 10))
    desk = Desk(MemoryStore(), facts, state, clock, evidence, ids)
    commands, usage = CommandHandlers(desk), UsageBook()
    governance = governance_methods(
        Governed(evidence),
        commands,
        ImportHandlers(desk, 100),
        FactHandlers(desk, facts),
        ReviewHandlers(facts, clock.now, usage, ReviewTimes(), commands),
        StoryHandlers(facts, clock.now, usage, NoRecords()),
    )
    both = [*decision_methods(decisions), *governance]
    return {method.name: method for method in both}


UNARY = sorted(name for name, method in methods().items() if isinstance(method, Unary))


async def _asked(name: str, message: Message | bytes) -> Message | DoorError:
    method = methods()[name]
    deadline = asyncio.get_running_loop().time() + 0.01
    try:
        if isinstance(message, bytes):
            message = decoded(method.request.FromString, message, method.request)
        return await method.handle(message, Call(name, deadline=deadline, principal=ANYBODY))  # type: ignore[no-any-return, misc]
    except DoorError as error:
        return error


def asked(name: str, message: Message | bytes) -> Message | DoorError:
    """Return what a method answers, or the door's error."""
    return asyncio.run(_asked(name, message))


texts = st.sampled_from(
    ["", "worker", "job", "s-1", "rows.read", "database", "prod/users", "*", "\0", "ééé", "x" * 3000]
)
values = st.recursive(
    st.one_of(
        st.builds(struct_pb2.Value),
        st.builds(struct_pb2.Value, number_value=st.floats()),
        st.builds(struct_pb2.Value, string_value=texts),
        st.builds(struct_pb2.Value, bool_value=st.booleans()),
    ),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda items: struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
    ),
    max_leaves=6,
)
structs = st.none() | st.dictionaries(texts, values, max_size=3).map(lambda members: struct_pb2.Struct(fields=members))
integers = st.sampled_from([0, 1, -1, 5, 1_700_000_000, (1 << 63) - 1, -(1 << 63)])
nanos = st.sampled_from([0, 1, -1, 999_999_999, 1_000_000_000])
times = st.none() | st.fixed_dictionaries({"seconds": integers, "nanos": nanos})
credentials = st.none() | st.builds(
    pb.Credential, id=texts, issuer=texts, subject=texts, issued_at=times, expires_at=times
)
checks = st.builds(
    pb.CheckRequest,
    subject=st.builds(pb.Subject, type=texts, id=texts, properties=structs),
    action=st.builds(pb.Action, name=texts, properties=structs),
    resource=st.builds(pb.Resource, type=texts, id=texts, properties=structs),
    context=structs,
    session_id=texts,
    task_id=texts,
    credential=credentials,
    request_id=texts,
    at_least_revision=st.sampled_from([0, 0, 0, 1, (1 << 64) - 1]),
    traceparent=st.sampled_from(["", "nonsense", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"]),
)


@given(st.sampled_from(UNARY), st.binary(max_size=150))
def test_any_bytes_are_answered_or_refused(name: str, data: bytes) -> None:
    """By every method with one message."""
    assert isinstance(asked(name, data), Message | DoorError)


@given(checks)
def test_any_check_is_answered_or_refused(check: pb.CheckRequest) -> None:
    """An answer has a reason; an allow is for the one subject that has a session."""
    answer = asked("Check", check)
    if isinstance(answer, DoorError):
        assert answer.faults
        return
    assert isinstance(answer, pb.CheckResponse)
    assert answer.decision.reasons
    if answer.decision.outcome == ALLOW:
        assert (check.subject.id, check.action.name, check.session_id or check.task_id) in {
            ("worker", "rows.read", "s-1"),
            ("worker", "rows.read", "job"),
        }


@given(st.lists(checks, max_size=5))
def test_any_batch_is_answered_item_by_item(items: list[pb.CheckRequest]) -> None:
    """As many answers as questions, each with a reason, and no more allows than the session's uses."""
    answer = asked("CheckBatch", pb.CheckBatchRequest(checks=items))
    assert isinstance(answer, pb.CheckBatchResponse)
    assert [bool(decision.reasons) for decision in answer.decisions] == [True] * len(items)
    assert sum(decision.outcome == ALLOW for decision in answer.decisions) <= 3


@given(checks)
def test_any_check_can_be_explained_and_listed(check: pb.CheckRequest) -> None:
    """Or is refused."""
    permissions = pb.ListPermissionsRequest(
        subject=check.subject, session_id=check.session_id, task_id=check.task_id, context=check.context
    )
    assert isinstance(asked("Explain", pb.ExplainRequest(check=check)), pb.ExplainResponse | DoorError)
    assert isinstance(asked("ListPermissions", permissions), pb.ListPermissionsResponse | DoorError)


@given(st.integers(-1, 9), texts, texts, times, times)
def test_any_revocation_is_written_or_refused(
    target: int, id_: str, reason: str, begin: dict[str, int] | None, end: dict[str, int] | None
) -> None:
    """Naming what is wrong."""
    request = governance_pb2.RevokeRequest(
        target=target,  # type: ignore[arg-type]  # any number may come over the wire
        target_id=id_,
        reason=reason,
        effective_at=begin,
        expires_at=end,
    )
    answer = asked("Revoke", request)
    assert isinstance(answer, governance_pb2.RevokeResponse | DoorError)


@given(st.lists(st.binary(max_size=60), max_size=3))
def test_any_write_is_done_or_refused(parts: list[bytes]) -> None:
    """Whatever the facts are."""
    facts = [facts_pb2.Fact() for _ in parts]
    for fact, part in zip(facts, parts, strict=True):
        with suppress(DecodeError):
            fact.ParseFromString(part)
    answer = asked("ApplyFacts", governance_pb2.ApplyFactsRequest(facts=facts))
    assert isinstance(answer, governance_pb2.ApplyFactsResponse | DoorError)
