"""The Python client's administration, against a door that records what it is asked."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import sessionpdp
from google.rpc import error_details_pb2
from sessionpdp import (
    AsyncGovernance,
    Change,
    CommandRefused,
    FactNotFound,
    Fault,
    Governance,
    GovernanceError,
    GovernanceUnavailable,
    InvalidCommand,
    NotAuthenticated,
    NotPermitted,
    Violation,
)
from sessionpdp.status_details import StatusDetails
from sessionpdp.v1 import facts_pb2, governance_pb2

from tests.recording_governance import METHODS, RecordingGovernance, recording

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCOPE: dict[str, Any] = {"actions": ["rows.read"], "resources": ["database:prod/users"]}
SESSION: dict[str, Any] = {"identity": "agent", "task": "t-1", "entitlement": "e-1", **SCOPE}
AGENT: dict[str, Any] = {"id": "agent", "kind": "ai_agent", "owner": "team-data"}

QUERIES = {
    "ListUnownedIdentities": "unowned_identities",
    "DescribeSession": "describe_session",
    "ListRevocations": "revocations",
    "ListReviews": "reviews",
    "GetReview": "review",
    "GetFact": "fact",
    "ListFacts": "facts",
    "GetPrincipal": "principal",
}


def verb(method: str) -> str:
    """Return the client's name of a method of the contract."""
    return QUERIES.get(method) or re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower()


class BlockingAsyncGovernance:
    """An `AsyncGovernance` with the face of `Governance`, so that one suite holds both to one contract."""

    def __init__(self, target: str, **options: Any) -> None:
        self._governance = AsyncGovernance(target, **options)
        self._runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._runner.run(self._finished(name, *args, **kwargs))

        return call

    async def _finished(self, name: str, *args: Any, **kwargs: Any) -> Any:
        answer = getattr(self._governance, name)(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else [item async for item in answer]

    def close(self) -> None:
        """Close the connection and the loop."""
        self._runner.run(self._governance.aclose())
        self._runner.close()


@pytest.fixture
def server() -> Iterator[RecordingGovernance]:
    """Return a running door."""
    with recording() as started:
        yield started


@pytest.fixture(params=[Governance, BlockingAsyncGovernance])
def client(request: pytest.FixtureRequest) -> Any:
    """Return each client's class in turn."""
    return request.param


@pytest.fixture
def governance(client: Any, server: RecordingGovernance) -> Iterator[Any]:
    """Return each client in turn."""
    made = client(server.target)
    yield made
    made.close()


@pytest.mark.parametrize("client_class", [Governance, AsyncGovernance])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_contract_has_a_verb(client_class: type, method: str) -> None:
    """The same words, in snake case."""
    assert callable(getattr(client_class, verb(method)))


COMMANDS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("RegisterIdentity", (), {**AGENT, "labels": {"team": "data"}, "credential_max_age": HOUR}),
    ("ChangeOwner", ("agent",), {"owner": "team-ml"}),
    ("SuspendIdentity", ("agent",), {}),
    ("ReinstateIdentity", ("agent",), {}),
    ("RetireIdentity", ("agent",), {"credentials": ["c-1"]}),
    ("GrantEntitlement", (), {"id": "e-1", "identity": "agent", "max_session_ttl": HOUR, **SCOPE}),
    ("NarrowEntitlement", ("e-1",), {"max_session_ttl": HOUR, **SCOPE}),
    ("CertifyEntitlement", ("e-1",), {"until": NOON}),
    ("RemoveEntitlement", ("e-1",), {}),
    (
        "RequestApproval",
        (),
        {
            "id": "a-1",
            "identity": "agent",
            "ticket": "CHG-1",
            "justification": "the index is corrupt",
            "not_before": NOON,
            "ttl": HOUR,
            "max_uses": 3,
            **SCOPE,
        },
    ),
    ("Approve", ("a-1",), {}),
    ("Reject", ("a-1",), {}),
    ("Withdraw", ("a-1",), {}),
    (
        "TakeBreakGlass",
        (),
        {
            "id": "b-1",
            "identity": "agent",
            "entitlement": "e-1",
            "task": "t-1",
            "incident": "INC-1",
            "ttl": HOUR,
            **SCOPE,
        },
    ),
    ("OpenTask", (), {"id": "t-1", "owner": "team-data", "parent": "t-0"}),
    ("CompleteTask", ("t-1",), {}),
    ("CancelTask", ("t-1",), {}),
    (
        "OpenSession",
        (),
        {
            "id": "s-1",
            "approval": "a-1",
            "not_before": NOON,
            "ttl": HOUR,
            "idle_timeout": HOUR,
            "max_uses": 0,
            **SESSION,
        },
    ),
    ("RenewSession", ("s-1",), {"ttl": HOUR}),
    ("NarrowSession", ("s-1",), {"ttl": HOUR, "idle_timeout": HOUR, "max_uses": 3, **SCOPE}),
    ("CloseSession", ("s-1",), {}),
    (
        "DelegateSession",
        ("s-1",),
        {
            "id": "s-2",
            "identity": "helper",
            "entitlement": "e-2",
            "task": "t-2",
            "approval": "a-2",
            "ttl": HOUR,
            **SCOPE,
        },
    ),
    (
        "Revoke",
        (),
        {
            "id": "r-1",
            "target": "session",
            "target_id": "s-1",
            "effective_at": NOON,
            "expires_at": NOON + HOUR,
            "source": "INC-1",
        },
    ),
    ("LiftRevocation", ("r-1",), {}),
    ("DecideReview", ("entitlement:e-1",), {"choice": "narrow", "until": NOON, "revision": 7, **SCOPE}),
    ("ApplyFacts", ([facts_pb2.Fact(task=facts_pb2.Task(id="t-1"))],), {}),
]


def as_python(message: Any, name: str) -> Any:
    """Return a field of a message as the value it was made of."""
    value, field = getattr(message, name), message.DESCRIPTOR.fields_by_name[name]
    if field.enum_type is not None:
        prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        return field.enum_type.values_by_number[value].name.removeprefix(prefix).lower()
    if hasattr(value, "ToDatetime"):
        return value.ToDatetime(tzinfo=UTC)
    if hasattr(value, "ToTimedelta"):
        return value.ToTimedelta()
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    return list(value) if field.is_repeated else value


@pytest.mark.parametrize(("method", "args", "fields"), COMMANDS, ids=[method for method, _, _ in COMMANDS])
def test_a_command_sends_its_fields(
    governance: Any, server: RecordingGovernance, method: str, args: tuple[Any, ...], fields: dict[str, Any]
) -> None:
    """Each under its own name; what is given by position is the request's first field but one way or another itself."""
    change = getattr(governance, verb(method))(*args, **fields, reason="because")
    (asked,) = server.asked
    sent = {field.name: as_python(asked.request, field.name) for field, _ in asked.request.ListFields()}
    key, reason = sent.pop("idempotency_key"), sent.pop("reason")
    by_position = [value for name, value in sent.items() if name not in fields]
    assert (asked.method, reason, by_position) == (method, "because", list(args))
    assert {name: as_python(asked.request, name) for name in fields} == fields
    assert key
    assert change.revision == 1


def test_the_table_above_has_every_command() -> None:
    """What it lacks would not be tested."""
    assert {method for method, _, _ in COMMANDS} | set(QUERIES) == set(METHODS)


def test_constraints_and_removals_are_sent(governance: Any, server: RecordingGovernance) -> None:
    """The two fields that are neither texts nor times."""
    governance.open_session(**SESSION, constraints={"region": ["eu", 1, True]})
    governance.apply_facts(removals=[("session", "s-1")])
    opened, applied = (asked.request for asked in server.asked)
    assert list(opened.constraints["region"]) == ["eu", 1, True]
    assert list(applied.removals) == [governance_pb2.FactReference(kind=facts_pb2.FACT_KIND_SESSION, id="s-1")]


def test_a_change_says_what_was_written(governance: Any, server: RecordingGovernance) -> None:
    """Revision, facts, and the id of the first."""
    change = governance.open_task()
    assert change == Change(1, (facts_pb2.Fact(task=facts_pb2.Task(id="t-made")),), already_done=False)
    assert repr(change) == "Change(revision=1, facts=[task:t-made], already_done=False)"
    assert (change.id, governance.approve("a-1").id) == ("t-made", "")


def test_each_command_has_a_key_of_its_own(governance: Any, server: RecordingGovernance) -> None:
    """Two commands that look alike are two commands."""
    first, second = governance.open_task(), governance.open_task()
    assert (first.already_done, second.already_done) == (False, False)
    assert len({asked.request.idempotency_key for asked in server.asked}) == 2


def test_a_key_of_the_callers_makes_it_one_command(governance: Any, server: RecordingGovernance) -> None:
    """The door answers as the first time."""
    first, second = (governance.open_task(idempotency_key="k-1") for _ in range(2))
    assert (second.already_done, second.revision) == (True, first.revision)


def test_a_dry_run_takes_no_key(governance: Any, server: RecordingGovernance) -> None:
    """It is not carried out, so there is nothing to do once."""
    assert governance.open_task(dry_run=True).revision == 0
    assert server.asked[0].request.idempotency_key == ""


@pytest.mark.parametrize(
    ("verb_", "fields", "message"),
    [
        ("certify_entitlement", {"until": datetime(2026, 3, 1)}, "`until` must be a datetime with a time zone"),  # noqa: DTZ001
        ("certify_entitlement", {"until": "tomorrow"}, "`until` must be a datetime with a time zone"),
        ("narrow_entitlement", {"max_session_ttl": 3600}, "`max_session_ttl` must be a timedelta, got int"),
        ("narrow_entitlement", {"actions": "rows.read"}, "`actions` must be a sequence, got str"),
        ("narrow_entitlement", {"actions": []}, "`actions` is empty: leave it out, or name a pattern"),
        ("narrow_entitlement", {"actions": [7]}, "`actions` cannot be sent: list `[7]`"),
        ("narrow_session", {"max_uses": -1}, "`max_uses` cannot be sent: int `-1`"),
        ("narrow_session", {"constraints": []}, "`constraints` must be a mapping, got list"),
        ("narrow_session", {"constraints": {"region": "eu"}}, "`constraints.region` must be a sequence, got str"),
        (
            "narrow_session",
            {"constraints": {"row": [2**60]}},
            "`constraints.row[0]` is an integer beyond 2**53, which would be rounded: send it as text",
        ),
        ("decide_review", {"choice": "persist"}, "`choice` must be one of keep, narrow, remove, got `persist`"),
        ("decide_review", {"choice": "KEEP"}, "`choice` must be one of keep, narrow, remove, got `KEEP`"),
        ("approve", {"reason": 7}, "`reason` cannot be sent: int `7`"),
        ("approve", {"timeout": float("nan")}, "`timeout` must be a finite number of seconds, got `nan`"),
    ],
)
def test_what_cannot_be_sent_exactly_is_refused_by_name(
    governance: Any, server: RecordingGovernance, verb_: str, fields: dict[str, Any], message: str
) -> None:
    """Never rounded, dropped or guessed."""
    with pytest.raises(InvalidCommand) as refused:
        getattr(governance, verb_)("x-1", **fields)
    assert (str(refused.value), server.asked) == (message, [])


def test_an_unknown_kind_is_refused_with_those_there_are(governance: Any) -> None:
    """The words of the vocabulary."""
    with pytest.raises(InvalidCommand, match="workload, service_account, ci_job, ai_agent, human, got `robot`"):
        governance.register_identity(id="x", kind="robot", owner="y")
    with pytest.raises(InvalidCommand, match="got `robot`"):
        governance.fact("robot", "x")
    with pytest.raises(InvalidCommand, match="got `robot`"):
        governance.apply_facts(removals=[("robot", "x")])


def test_a_misspelt_field_is_a_type_error(governance: Any) -> None:
    """As for any function, also where the fields are many."""
    with pytest.raises(TypeError, match="`tll` is no field of OpenSession"):
        governance.open_session(**SESSION, tll=HOUR)


def test_the_server_sees_the_deadline(governance: Any, server: RecordingGovernance) -> None:
    """The call's own, else the client's."""
    governance.open_task(timeout=60)
    governance.open_task()
    governance.principal(timeout=60)
    assert [asked.seconds_left > 30 for asked in server.asked] == [True, False, True]


def test_without_time_nothing_is_sent(governance: Any, server: RecordingGovernance) -> None:
    """What is left of a caller's own deadline may be nothing."""
    with pytest.raises(GovernanceUnavailable, match="DEADLINE_EXCEEDED"):
        governance.open_task(timeout=-1)
    assert server.asked == []


def test_a_token_is_shown_with_every_call(client: Any, server: RecordingGovernance) -> None:
    """Also a token that changes."""
    tokens = iter(["first", "second"])
    governance = client(server.target, token=lambda: next(tokens), traceparent=lambda: f"00-{'1' * 32}-{'2' * 16}-01")
    governance.open_task()
    governance.principal()
    governance.close()
    assert [asked.metadata["authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]
    assert server.asked[0].metadata["traceparent"] == f"00-{'1' * 32}-{'2' * 16}-01"


def test_without_a_token_none_is_shown(governance: Any, server: RecordingGovernance) -> None:
    """A certificate or a Unix socket says who calls."""
    governance.open_task()
    assert "authorization" not in server.asked[0].metadata


@pytest.mark.parametrize("client_class", [Governance, AsyncGovernance])
@pytest.mark.parametrize(
    "target",
    [
        "pdp.shop.example:7443",
        "dns:///pdp.shop.example:7443",
        "dns://10.0.0.53/localhost:7443",
        "10.0.0.1:7443",
        "0.0.0.0:7443",
        "ipv4:127.0.0.1:7443,10.0.0.1:7443",
        "[2001:db8::1]:7443",
        "localhost.shop.example:7443",
        "127.0.0.1.shop.example:7443",
        "xds:///pdp",
        "vsock:1:2",
    ],
)
def test_a_token_does_not_travel_in_plaintext(client_class: type, target: str) -> None:
    """In doubt it is refused; with TLS it may."""
    with pytest.raises(ValueError, match=re.escape(f"a token would be readable on the way to `{target}`")):
        client_class(target, token="secret")  # noqa: S106 - none
    client_class(target)
    client_class(target, token="secret", credentials=grpc.ssl_channel_credentials())  # noqa: S106 - none


@pytest.mark.parametrize(
    "target",
    [
        "unix:/run/admin.sock",
        "unix:///run/admin.sock",
        "unix-abstract:admin",
        "localhost:7443",
        "dns:///localhost:7443",
        "dns:localhost:7443",
        "127.0.0.1:7443",
        "127.8.0.1",
        "[::1]:7443",
        "::1",
        "ipv4:127.0.0.1:7443",
        "ipv6:[::1]:7443",
    ],
)
def test_a_token_may_stay_on_the_machine(target: str) -> None:
    """Unix sockets and loopback."""
    Governance(target, token="secret")  # noqa: S106 - none


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ключ"])
def test_a_token_that_cannot_be_sent_is_not_printed(server: RecordingGovernance, token: str) -> None:
    """An error message ends in a log."""
    with pytest.raises(ValueError, match=r"^the token must be printable ASCII without spaces$"):
        Governance(server.target, token=token).open_task()


def test_a_token_is_not_in_the_calls_repr(server: RecordingGovernance) -> None:
    """Nor does debugging print it."""
    assert "secret" not in repr(Governance(server.target, token="secret")._calls)  # noqa: S106 - none


@pytest.mark.parametrize("client_class", [Governance, AsyncGovernance])
def test_the_target_is_found(monkeypatch: pytest.MonkeyPatch, client_class: Any) -> None:
    """Argument before environment before the default socket."""
    monkeypatch.setenv("SESSIONPDP_ADMIN_TARGET", "unix:///from/environment")
    found = [client_class(target)._calls.endpoint.target for target in ("dns:///other:1", None)]
    monkeypatch.delenv("SESSIONPDP_ADMIN_TARGET")
    found.append(client_class()._calls.endpoint.target)
    assert found == ["dns:///other:1", "unix:///from/environment", "unix:///run/sessionpdp/admin.sock"]


def test_a_broken_connection_costs_nothing(governance: Any, server: RecordingGovernance) -> None:
    """Sent again, at most twice, under the same key."""
    server.fail("OpenTask", grpc.StatusCode.UNAVAILABLE, "restarting", times=2)
    assert governance.open_task().revision == 1
    assert len(server.asked) == 3
    assert len({asked.request.idempotency_key for asked in server.asked}) == 1


def test_a_lost_answer_is_asked_for_again(governance: Any, server: RecordingGovernance) -> None:
    """Carried out once, and answered as it was."""
    server.lose_answer()
    change = governance.open_task()
    assert (change.revision, change.already_done) == (1, True)


def test_after_three_attempts_it_is_said(governance: Any, server: RecordingGovernance) -> None:
    """Who knows whether it was carried out."""
    server.fail("OpenTask", grpc.StatusCode.UNAVAILABLE, "restarting", times=3)
    with pytest.raises(GovernanceUnavailable) as unavailable:
        governance.open_task()
    assert (str(unavailable.value), unavailable.value.status) == ("UNAVAILABLE: restarting", "UNAVAILABLE")
    assert len(server.asked) == 3


def test_no_attempt_begins_after_the_deadline(governance: Any, server: RecordingGovernance) -> None:
    """The second pause is longer than what is left."""
    server.fail("OpenTask", grpc.StatusCode.UNAVAILABLE, "restarting", times=9)
    with pytest.raises(GovernanceUnavailable):
        governance.open_task(timeout=0.6)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "status", [grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED]
)
def test_other_trouble_is_told_at_once(governance: Any, server: RecordingGovernance, status: grpc.StatusCode) -> None:
    """Sending again is then the caller's choice."""
    server.fail("OpenTask", status, "not now")
    with pytest.raises(GovernanceUnavailable, match=f"{status.name}: not now"):
        governance.open_task()
    assert len(server.asked) == 1


def test_a_door_that_is_not_there_is_said(client: Any) -> None:
    """As any other trouble on the way."""
    governance = client("unix:///nowhere/admin.sock", timeout=0.5)
    with pytest.raises(GovernanceUnavailable):
        governance.principal()
    governance.close()


def test_a_refusal_names_rule_and_remedy(governance: Any, server: RecordingGovernance) -> None:
    """And the fact it is about; it is not sent again."""
    server.refuse("Approve", "FOUR_EYES", "you requested `a-1`", "have somebody else approve", "approval:a-1")
    with pytest.raises(CommandRefused) as refused:
        governance.approve("a-1")
    error = refused.value
    assert (error.rule, error.message, error.remedy, error.about) == (
        "FOUR_EYES",
        "you requested `a-1`",
        "have somebody else approve",
        "approval:a-1",
    )
    assert error.violations == (
        Violation("FOUR_EYES", "approval:a-1", "you requested `a-1`; have somebody else approve"),
    )
    assert str(error) == "FOUR_EYES: you requested `a-1`; have somebody else approve"
    assert len(server.asked) == 1


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    """Return what every error of a sidecar carries."""
    return error_details_pb2.ErrorInfo(reason=reason, domain="sessionpdp", metadata=metadata)


@pytest.mark.parametrize(
    ("status", "details", "expected"),
    [
        ("PERMISSION_DENIED", [info("ROLE_REQUIRED", roles="approver,operator")], NotPermitted),
        ("PERMISSION_DENIED", [info("CHANGE_REFUSED", rule="NOT_YOURS")], CommandRefused),
        ("PERMISSION_DENIED", [], NotPermitted),
        ("UNAUTHENTICATED", [info("CALLER_UNAUTHENTICATED")], NotAuthenticated),
        ("NOT_FOUND", [info("FACT_NOT_FOUND")], FactNotFound),
        ("NOT_FOUND", [info("CHANGE_REFUSED", rule="NOT_FOUND")], FactNotFound),
        ("FAILED_PRECONDITION", [], CommandRefused),
        ("ABORTED", [info("FACT_CHANGED_MEANWHILE")], GovernanceUnavailable),
        ("INVALID_ARGUMENT", [info("REQUEST_INVALID")], InvalidCommand),
    ],
)
def test_every_error_has_its_meaning(
    governance: Any, server: RecordingGovernance, status: str, details: list[Any], expected: type[GovernanceError]
) -> None:
    """One small tree."""
    server.fail("Approve", grpc.StatusCode[status], "said", *details)
    with pytest.raises(GovernanceError) as raised:
        governance.approve("a-1")
    assert (type(raised.value), "said" in str(raised.value)) == (expected, True)


def test_who_may_is_said(governance: Any, server: RecordingGovernance) -> None:
    """The roles that would permit it."""
    server.fail("Approve", grpc.StatusCode.PERMISSION_DENIED, "no", info("ROLE_REQUIRED", roles="approver,operator"))
    with pytest.raises(NotPermitted) as raised:
        governance.approve("a-1")
    assert raised.value.roles == ("approver", "operator")


def test_bad_fields_are_named(governance: Any, server: RecordingGovernance) -> None:
    """One fault each."""
    violation = error_details_pb2.BadRequest.FieldViolation(field="approval_id", description="is empty")
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    server.fail("Approve", grpc.StatusCode.INVALID_ARGUMENT, "`approval_id` is empty", info("REQUEST_INVALID"), bad)
    with pytest.raises(InvalidCommand) as raised:
        governance.approve("")
    assert raised.value.faults == (Fault("approval_id", "is empty"),)


@pytest.mark.parametrize("details", [b"\xff", b"\x1a\x02\xff\xff", b""])
def test_details_that_cannot_be_read_are_left_out(details: bytes) -> None:
    """The status alone says enough."""
    assert StatusDetails.of([("grpc-status-details-bin", details)]) == StatusDetails()


def test_queries_answer_what_the_contract_says(governance: Any, server: RecordingGovernance) -> None:
    """The messages themselves."""
    identity, review = facts_pb2.Identity(id="agent"), governance_pb2.Review(id="session:s-1")
    fact = facts_pb2.Fact(identity=identity)
    answers = {
        "ListUnownedIdentities": governance_pb2.ListUnownedIdentitiesResponse(identities=[identity]),
        "DescribeSession": governance_pb2.DescribeSessionResponse(allowed=3),
        "ListReviews": governance_pb2.ListReviewsResponse(reviews=[review]),
        "GetReview": governance_pb2.GetReviewResponse(review=review),
        "GetFact": governance_pb2.GetFactResponse(fact=fact),
        "GetPrincipal": governance_pb2.GetPrincipalResponse(name="release-manager"),
    }
    for method, answer in answers.items():
        server.answer_with(method, lambda answer=answer: answer)
    assert governance.unowned_identities() == (identity,)
    assert governance.describe_session("s-1", decisions=5).allowed == 3
    assert governance.reviews(cause="unused") == (review,)
    assert governance.review("session:s-1") == review
    assert governance.fact("identity", "agent") == fact
    assert governance.principal().name == "release-manager"
    assert [str(asked.request).split() for asked in server.asked] == [
        [],
        ["session_id:", '"s-1"', "decisions:", "5"],
        ["cause:", "REVIEW_CAUSE_UNUSED"],
        ["review_id:", '"session:s-1"'],
        ["kind:", "FACT_KIND_IDENTITY", "id:", '"agent"'],
        [],
    ]


def test_lists_are_read_page_by_page(governance: Any, server: RecordingGovernance) -> None:
    """Until there is no further page."""
    facts = [facts_pb2.Fact(task=facts_pb2.Task(id=f"t-{number}")) for number in range(2)]
    pages = iter(
        [
            governance_pb2.ListFactsResponse(facts=facts[:1], next_page_token="t-0"),  # noqa: S106 - of a page
            governance_pb2.ListFactsResponse(facts=facts[1:]),
        ]
    )
    server.answer_with("ListFacts", lambda: next(pages))
    assert list(governance.facts(kind="task")) == facts
    assert [asked.request.page_token for asked in server.asked] == ["", "t-0"]
    assert {asked.request.kind for asked in server.asked} == {facts_pb2.FACT_KIND_TASK}


def test_revocations_are_listed_by_target(governance: Any, server: RecordingGovernance) -> None:
    """Of a kind, or of one."""
    revocation = facts_pb2.Revocation(id="r-1")
    page = governance_pb2.ListRevocationsResponse(revocations=[revocation])
    server.answer_with("ListRevocations", lambda: page)
    assert list(governance.revocations(target="owner", target_id="team-data")) == [revocation]
    assert server.asked[0].request.target == facts_pb2.REVOCATION_TARGET_OWNER


def test_errors_form_one_tree() -> None:
    """So that one `except` covers all."""
    errors = {InvalidCommand, NotAuthenticated, NotPermitted, CommandRefused, FactNotFound, GovernanceUnavailable}
    assert all(issubclass(error, GovernanceError) for error in errors)
    assert {error.__name__ for error in errors} < set(sessionpdp.__all__)
