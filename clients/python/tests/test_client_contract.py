"""What both clients promise, against a real server."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sessionpdp import AccessDenied, Check, Credential, InvalidCheck
from sessionpdp.v1 import decision_pb2, reasons_pb2

if TYPE_CHECKING:
    from sessionpdp import PDP

    from clients.python.tests.conftest import BlockingAsyncPDP, ScriptedServer

    Client = PDP | BlockingAsyncPDP

CHECK: dict[str, Any] = {
    "subject": "spiffe://example.org/ci/job-1",
    "action": "rows.read",
    "resource": "database:prod/users",
    "session": "s-1",
    "task": "t-1",
}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_allow_is_allowed(pdp: Client) -> None:
    """An allow carries its reason and its id, and `require` returns it."""
    decision = pdp.check(**CHECK)

    assert decision.allowed
    assert decision.decided
    assert decision.code == "GRANTED"
    assert decision.require() is decision
    assert decision.decision_id == "d-1"


def test_a_deny_raises_with_its_reasons(pdp: Client, server: ScriptedServer) -> None:
    """A deny is an answer; `require` turns it into an exception that says why."""
    server.deny("SESSION_EXPIRED")

    decision = pdp.check(**CHECK)

    assert decision.decided
    with pytest.raises(AccessDenied, match="SESSION_EXPIRED: by the script") as caught:
        decision.require()
    assert caught.value.reasons[0].subject_of_reason == "session:s-1"


def test_every_field_arrives(pdp: Client, server: ScriptedServer) -> None:
    """What the caller said is what the PDP hears."""
    issued = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    pdp.check(
        **CHECK,
        context={"source_ip": "10.0.0.1", "depth": 2},
        credential=Credential(id="c-1", issuer="idp", subject="x", issued_at=issued),
        at_least_revision=7,
        request_id="r-1",
        traceparent=TRACEPARENT,
    )

    (check,) = server.checks
    assert check.subject.id == "spiffe://example.org/ci/job-1"
    assert check.action.name == "rows.read"
    assert (check.resource.type, check.resource.id) == ("database", "prod/users")
    assert (check.session_id, check.task_id, check.request_id) == ("s-1", "t-1", "r-1")
    assert dict(check.context) == {"source_ip": "10.0.0.1", "depth": 2.0}
    assert check.credential.id == "c-1"
    assert check.credential.issued_at.ToDatetime(UTC) == issued
    assert not check.credential.HasField("expires_at")
    assert check.at_least_revision == 7
    assert check.traceparent == TRACEPARENT


def test_the_server_sees_the_deadline(pdp: Client, server: ScriptedServer) -> None:
    """A timeout is no local matter: the PDP knows how long it may take."""
    pdp.check(**CHECK, timeout=3)

    (deadline,) = server.deadlines
    assert deadline is not None
    assert 1 < deadline < 4  # gRPC rounds a deadline up


def test_the_server_sees_the_default_deadline(pdp: Client, server: ScriptedServer) -> None:
    """A call that names no timeout has one, on the call or on its batch."""
    pdp.check(**CHECK)

    told = server.batch_timeouts or server.deadlines
    assert told[0] is not None
    assert 5 < told[0] < 11  # gRPC rounds a deadline up


def test_a_late_answer_is_a_timeout(pdp: Client, server: ScriptedServer) -> None:
    """No answer in time is a deny that says so."""
    server.hold()
    started = time.monotonic()

    decision = pdp.check(**CHECK, timeout=0.1)

    assert time.monotonic() - started < 2
    assert (decision.allowed, decision.decided, decision.code) == (False, False, "PDP_TIMEOUT")


@pytest.mark.parametrize("left", [0, -1.5])
def test_a_deadline_that_has_passed_asks_nothing(pdp: Client, server: ScriptedServer, left: float) -> None:
    """What is left of a caller's own deadline may be nothing."""
    assert pdp.check(**CHECK, timeout=left).code == "PDP_TIMEOUT"
    assert server.calls == []


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), "1"])
def test_a_timeout_is_a_number_of_seconds(pdp: Client, timeout: float) -> None:
    """There is no call without a deadline."""
    with pytest.raises(InvalidCheck, match="`timeout`"):
        pdp.check(**CHECK, timeout=timeout)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.UNAVAILABLE, "PDP_UNREACHABLE"),
        (grpc.StatusCode.INTERNAL, "PDP_UNREACHABLE"),
        (grpc.StatusCode.UNAUTHENTICATED, "PDP_REFUSED"),
        (grpc.StatusCode.PERMISSION_DENIED, "PDP_REFUSED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "PDP_REFUSED"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "PDP_TIMEOUT"),
    ],
)
def test_a_status_is_a_deny_with_its_own_code(
    pdp: Client, server: ScriptedServer, status: grpc.StatusCode, code: str
) -> None:
    """Trouble on the way is told from a policy's deny, and named."""
    server.fail(status, "on purpose")

    decision = pdp.check(**CHECK)

    assert (decision.allowed, decision.decided, decision.code) == (False, False, code)
    assert decision.reasons[0].message == f"{status.name}: on purpose"


def test_a_check_is_sent_once(pdp: Client, server: ScriptedServer) -> None:
    """A check may have been counted as a use, so trouble does not repeat it."""
    server.fail(grpc.StatusCode.UNAVAILABLE, times=1)

    assert pdp.check(**CHECK).code == "PDP_UNREACHABLE"
    assert len(server.calls) == 1


def test_a_question_that_counts_no_use_is_asked_again(pdp: Client, server: ScriptedServer) -> None:
    """`explain` and `permissions` survive one broken call, and not two."""
    server.fail(grpc.StatusCode.UNAVAILABLE, times=1)
    assert pdp.explain(**CHECK).decision.allowed

    server.fail(grpc.StatusCode.UNAVAILABLE, times=1)
    assert pdp.permissions(subject="x").decided

    server.fail(grpc.StatusCode.UNAVAILABLE, times=2)
    assert not pdp.explain(**CHECK).decision.decided


def test_nobody_there_is_unreachable(pdp: Client, server: ScriptedServer) -> None:
    """Without a server every question has an answer at once: deny."""
    server.stop()

    assert pdp.check(**CHECK).code == "PDP_UNREACHABLE"
    assert [d.code for d in pdp.check_many([Check(**CHECK)] * 2)] == ["PDP_UNREACHABLE"] * 2
    assert pdp.explain(**CHECK).decision.code == "PDP_UNREACHABLE"
    assert pdp.permissions(subject="x").reasons[0].code == "PDP_UNREACHABLE"


def test_a_mistake_in_the_question_raises(pdp: Client, server: ScriptedServer) -> None:
    """What the server calls invalid is the caller's mistake, in its words."""
    server.deny("REQUEST_INVALID")

    with pytest.raises(InvalidCheck, match="by the script"):
        pdp.check(**CHECK)


def test_an_invalid_argument_raises(pdp: Client, server: ScriptedServer) -> None:
    """The same on calls that have a status of their own."""
    server.fail(grpc.StatusCode.INVALID_ARGUMENT, "`action` has an empty segment")

    with pytest.raises(InvalidCheck, match="`action` has an empty segment"):
        pdp.check(**CHECK, timeout=5)
    with pytest.raises(InvalidCheck, match="`action` has an empty segment"):
        pdp.explain(**CHECK)


def test_many_checks_are_answered_in_order(pdp: Client, server: ScriptedServer) -> None:
    """Each check has its own decision, also across messages."""
    server.allow_only("5")
    checks = [Check(subject="x", action="a", resource=f"n:{number}") for number in range(300)]

    decisions = pdp.check_many(checks)

    assert [index for index, decision in enumerate(decisions) if decision.allowed] == [5]
    assert server.batches == [256, 44]


def test_no_checks_are_no_call(pdp: Client, server: ScriptedServer) -> None:
    """Nothing asked, nothing sent."""
    assert pdp.check_many([]) == []
    assert server.calls == []


def test_an_invalid_item_is_named(pdp: Client) -> None:
    """A bad check among many says which."""
    with pytest.raises(InvalidCheck, match=r"`checks\[1\]`: `action` is empty"):
        pdp.check_many([Check(**CHECK), Check(subject="x", action="", resource="a:b")])


def test_a_request_id_names_one_check_of_a_batch(pdp: Client) -> None:
    """Two checks of one name could be mixed up."""
    with pytest.raises(InvalidCheck, match=r"`checks\[1\]`: `request_id` `r` is that of `checks\[0\]`"):
        pdp.check_many([Check(**CHECK, request_id="r")] * 2)


@pytest.mark.parametrize("too_few", [0, 1])
def test_a_short_list_of_decisions_allows_nothing(pdp: Client, server: ScriptedServer, too_few: int) -> None:
    """If one answer is missing, no position can be trusted."""
    server.answers_per_batch = lambda _: too_few

    decisions = pdp.check_many([Check(**CHECK)] * 2)

    assert [decision.code for decision in decisions] == ["PDP_ANSWER_INVALID"] * 2


def test_an_answer_without_a_decision_is_a_deny(pdp: Client, server: ScriptedServer) -> None:
    """An empty message is no allow."""
    server.tell(decision_pb2.Decision())

    assert pdp.check(**CHECK).code == "PDP_ANSWER_INVALID"


def test_an_explanation_has_the_table(pdp: Client, server: ScriptedServer) -> None:
    """Every row comes with its verdict, also verdicts and codes of a newer server."""
    row = decision_pb2.ExplainedCheck(
        code=reasons_pb2.REASON_CODE_SESSION_EXPIRED,
        group="session",
        verdict=decision_pb2.VERDICT_FAILED,
        facts=["session:s-1"],
        message="session `s-1` has expired",
        remedy="open a new session",
    )
    newer = decision_pb2.ExplainedCheck.FromString(b"\x08\xe7\x07\x18\x09")  # code 999, verdict 9
    server.rows = [row, newer]

    known, unknown = pdp.explain(**CHECK).checks

    assert (known.code, known.verdict, known.facts) == ("SESSION_EXPIRED", "FAILED", ("session:s-1",))
    assert (known.group, known.remedy) == ("session", "open a new session")
    assert (unknown.code, unknown.verdict) == ("UNKNOWN_999", "UNKNOWN_9")


def test_permissions_are_listed(pdp: Client, server: ScriptedServer) -> None:
    """Pairs of patterns with what policies still ask."""
    server.permissions = decision_pb2.ListPermissionsResponse(
        permissions=[decision_pb2.Permission(action="rows.*", resource="database:prod/**", conditions=["ticket"])],
        revision=4,
        policy_version="p-1",
    )
    server.permissions.valid_until.FromSeconds(100)

    permissions = pdp.permissions(subject="x", session="s-1")

    (pair,) = permissions.permissions
    assert (pair.action, pair.resource, pair.conditions) == ("rows.*", "database:prod/**", ("ticket",))
    assert (permissions.decided, permissions.revision, permissions.policy_version) == (True, 4, "p-1")
    assert permissions.valid_until == datetime.fromtimestamp(100, UTC)
    assert permissions.evaluated_at is None


def test_the_trace_parent_is_on_the_call_too(pdp: Client, server: ScriptedServer) -> None:
    """Calls of their own carry the trace parent as metadata, for what sits between."""
    pdp.explain(**CHECK, traceparent=TRACEPARENT)

    assert server.metadata[-1]["traceparent"] == TRACEPARENT
    assert server.checks[-1].traceparent == TRACEPARENT


def test_a_malformed_trace_parent_is_ignored(pdp: Client, server: ScriptedServer) -> None:
    """It may come from a stranger's header and must not stop the check."""
    assert pdp.check(**CHECK, traceparent="00-zz\n", timeout=5).allowed
    assert server.checks[-1].traceparent == ""


def test_a_closed_client_connects_again(pdp: Client) -> None:
    """Closing ends a connection, not the client."""
    if not hasattr(pdp, "_runner"):
        pdp.close()
    assert pdp.check(**CHECK).allowed
