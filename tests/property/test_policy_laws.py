"""Laws of policies: they restrict together, whatever their order and number, and in doubt they deny."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pdp.core.decide import decide
from pdp.core.decision import Allow, Decision, Deny
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Consent,
    Credential,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Request,
    Session,
    Task,
)
from pdp.core.policy.compile import (
    Evidence,
    WrittenApproval,
    WrittenCondition,
    WrittenMatch,
    WrittenObligation,
    WrittenPolicy,
    WrittenRequirements,
    compile_policy,
    content_version,
)
from pdp.core.policy.model import Limits, Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot

HOUR = 3_600_000_000_000
NOW = Instant(1_000_000 * HOUR)

Conditions: TypeAlias = tuple[WrittenCondition, ...]
Body: TypeAlias = tuple[
    tuple[tuple[str, ...], tuple[str, ...]], WrittenApproval | None, Conditions, Conditions, Limits, bool, int
]

CONDITIONS = (
    "context.a == 1",
    "context.a > 1",
    "context.a",
    "has(context.b)",
    'in_cidr(context.b, "10.0.0.0/8")',
    "true",
)
ERRONEOUS = ("context.a > 1", "context.a", 'in_cidr(context.a, "10.0.0.0/8")', "context.a.b == 1")

scopes = st.sampled_from(
    [
        (("**",), ("**",)),
        (("rows.*",), ("database:prod/**",)),
        (("rows.read",), ("database:**",)),
        (("rows.write", "schema.*"), ("database:prod/users",)),
        (("schema.alter",), ("bucket:**",)),
    ]
)
conditions = st.lists(st.sampled_from(CONDITIONS), max_size=2, unique=True).map(
    lambda sources: tuple(WrittenCondition(source, source) for source in sources)
)
approvals = st.none() | st.builds(
    WrittenApproval,
    approvers=st.sampled_from([1, 1, 2, 3]),
    groups=st.none() | st.sampled_from([("dba",), ("security", "dba")]),
    kinds=st.sampled_from([(ApprovalKind.STANDARD,), tuple(ApprovalKind)]),
    ticket=st.none() | st.sampled_from([r"CHG-\d+", "INC-1"]),
    independent=st.booleans(),
)
limits = st.builds(
    Limits,
    session_ttl=st.none() | st.sampled_from([Duration(HOUR), Duration(9 * HOUR)]),
    idle_timeout=st.none() | st.sampled_from([Duration(HOUR // 2), Duration(5 * HOUR)]),
    delegation_depth=st.none() | st.integers(0, 2),
    credential_age=st.none() | st.just(Duration(HOUR)),
    approval_ttl=st.none() | st.sampled_from([Duration(HOUR), Duration(8 * HOUR)]),
    break_glass_ttl=st.none() | st.just(Duration(HOUR)),
    review_within=st.none() | st.just(Duration(HOUR)),
)
bodies = st.tuples(scopes, approvals, conditions, conditions, limits, st.booleans(), st.integers(0, 2))
requests = st.builds(
    Request,
    subject=st.just("bot"),
    action=st.sampled_from(["rows.read", "rows.write", "schema.alter"]),
    resource=st.sampled_from(["database:prod/users", "database:test/x", "bucket:b"]),
    session=st.sampled_from(["plain", "approved", ""]),
    task=st.sampled_from(["", "task"]),
    context=st.sampled_from([{}, {"a": 1}, {"a": 2, "b": "10.0.0.1"}, {"a": True, "b": "x"}]),
    credential=st.none() | st.just(Credential(id="c", subject="bot", issued_at=Instant(NOW - HOUR // 4))),
)


@cache
def facts() -> tuple[AnyFact, ...]:
    """Return a small world in which most requests are allowed without policies."""
    actions, resources = ActionScope(["**"]), ResourceScope(["**"])
    begin, end = Instant(NOW - HOUR), Instant(NOW + 7 * HOUR)
    session = Session(
        id="plain",
        identity="bot",
        task="task",
        entitlement="e",
        actions=actions,
        resources=resources,
        not_before=begin,
        expires_at=end,
    )
    approval = Approval(
        id="change",
        state=ApprovalState.APPROVED,
        ticket="CHG-1",
        requested_by="requester",
        approved_by="approver",
        consents=(
            Consent(by="database-admin", at=begin, groups=("dba",)),
            Consent(by="approver", at=begin, groups=("security",)),
        ),
        actions=actions,
        resources=resources,
        not_before=begin,
        expires_at=end,
    )
    until = Instant(NOW + 9 * HOUR)
    return (
        Identity(id="bot", kind=IdentityKind.WORKLOAD, owner="team"),
        Entitlement(
            id="e", identity=IdentityScope(["bot"]), actions=actions, resources=resources, certified_until=until
        ),
        approval,
        Task(id="task"),
        session,
        replace(session, id="approved", approval="change"),
    )


def answer(request: Request, policies: Sequence[Policy]) -> Decision:
    """Decide in that world under the policies."""
    snapshot = Snapshot(PolicySet(policies, content_version(policies)))
    snapshot.readiness = Readiness.READY
    for fact in facts():
        snapshot.put(fact)
    return decide(request, snapshot, NOW)


def policies_of(drawn: Sequence[Body]) -> list[Policy]:
    """Compile drawn bodies into policies of different names."""
    return [policy for number, body in enumerate(drawn) if (policy := compiled(f"p{number}", body)) is not None]


def compiled(name: str, body: Body) -> Policy | None:
    """Compile a drawn body; None if it asks for nothing."""
    (actions, resources), approval, requirements, denials, bounds, durable, obligations = body
    policy = compile_policy(
        WrittenPolicy(
            name,
            WrittenMatch(ActionScope(actions), ResourceScope(resources)),
            require=WrittenRequirements(approval, requirements),
            limit=bounds,
            deny=denials,
            obligations=tuple(WrittenObligation(f"o{number}") for number in range(obligations)),
            evidence=Evidence.DURABLE if durable else None,
        )
    )
    return policy if isinstance(policy, Policy) else None


@settings(max_examples=80, deadline=None)
@given(st.lists(bodies, max_size=5), requests, st.randoms(use_true_random=False), st.integers(0, 3))
def test_order_and_duplication_change_nothing(drawn: list[Body], request: Request, random: Random, extra: int) -> None:
    """Not the outcome, not a reason, not a message, not an obligation, not the version."""
    policies = policies_of(drawn)
    others = policies + policies[:extra]
    random.shuffle(others)
    given_, shuffled = answer(request, policies), answer(request, others)
    assert replace(shuffled, policy_version=given_.policy_version) == given_


@settings(max_examples=80, deadline=None)
@given(st.lists(bodies, max_size=4), bodies, requests)
def test_adding_a_policy_never_turns_a_deny_into_an_allow(drawn: list[Body], added: Body, request: Request) -> None:
    """Policies restrict; and no reason that was there goes away."""
    policies = policies_of(drawn)
    more = policies_of([*drawn, added])
    before, after = answer(request, policies), answer(request, more)
    if isinstance(before, Deny):
        assert isinstance(after, Deny)
        assert {denial.code for denial in before.reasons} <= {denial.code for denial in after.reasons}


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies, max_size=3), st.sampled_from(ERRONEOUS), st.booleans())
def test_a_condition_that_errs_denies(drawn: list[Body], source: str, forbids: bool) -> None:
    """As a deny rule as well as a requirement, beside whatever other policies."""
    condition = (WrittenCondition("errs", source),)
    match = WrittenMatch(ActionScope(["**"]), ResourceScope(["**"]))
    written = (
        WrittenPolicy("errs", match, deny=condition)
        if forbids
        else WrittenPolicy("errs", match, require=WrittenRequirements(context=condition))
    )
    policy = compile_policy(written)
    assert isinstance(policy, Policy)
    context: dict[str, Attribute] = {"a": "text"}
    request = Request("bot", "rows.read", "database:prod/users", session="approved", context=context)
    decision = answer(request, [*policies_of(drawn), policy])
    assert isinstance(decision, Deny)
    assert Code.POLICY_ERROR in {denial.code for denial in decision.reasons}


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies, max_size=4), requests)
def test_an_allow_keeps_what_every_policy_asks(drawn: list[Body], request: Request) -> None:
    """Each policy on its own would have allowed it, too, and all their obligations are passed on."""
    policies = policies_of(drawn)
    decision = answer(request, policies)
    if not isinstance(decision, Allow):
        return
    alone = [answer(request, [policy]) for policy in policies]
    assert all(isinstance(other, Allow) for other in alone)
    asked = [obligation for other in alone if isinstance(other, Allow) for obligation in other.obligations]
    assert all(obligation in decision.obligations for obligation in asked)
    assert decision.durable or not any(other.durable for other in alone)
    assert all(decision.valid_until <= other.valid_until for other in alone if isinstance(other, Allow))
