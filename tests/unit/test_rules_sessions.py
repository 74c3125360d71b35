"""The rules of sessions: what opens, prolongs, narrows, closes and delegates them, and what stands against it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace as changed

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Consent,
    Duration,
    Entitlement,
    FactKind,
    Identity,
    IdentityKind,
    IdentityState,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Task,
)
from pdp.core.policy.model import ApprovalRequirement, Limits, Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.snapshot import Readiness, Snapshot, Use
from pdp.core.wording import SECOND
from pdp.governance.commands import CloseSession, DelegateSession, NarrowSession, OpenSession, RenewSession
from pdp.governance.refusal import Refused, Rule
from pdp.governance.roles import Principal, Role
from pdp.governance.rules import sessions
from pdp.governance.view import Plan, View

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOW = Instant(1_800_000_000 * SECOND)
CI = "spiffe://shop.example/ci/42"
AGENT = "spiffe://shop.example/agent"
REQUESTER = Principal(
    name="release-manager",
    roles=frozenset({Role.REQUESTER}),
    identities=IdentityScope(["spiffe://shop.example/ci/**"]),
)
OPERATOR = Principal(name="on-call-engineer", roles=frozenset({Role.OPERATOR}))
STRANGER = Principal(name="stranger", roles=frozenset({Role.REQUESTER}))
ROWS, PRODUCTION = ActionScope(["rows.*"]), ResourceScope(["database:prod/**"])
READ, USERS = ActionScope(["rows.read"]), ResourceScope(["database:prod/users"])
OPEN = OpenSession(id="new", identity=CI, task="release", entitlement="writer", actions=ROWS, resources=PRODUCTION)
HELD = Session(
    id="held",
    revision=9,
    identity=CI,
    task="release",
    entitlement="writer",
    actions=ROWS,
    resources=PRODUCTION,
    constraints={"region": ["eu", 1]},
    not_before=Instant(NOW - 10 * MINUTE),
    expires_at=Instant(NOW + 20 * MINUTE),
    idle_timeout=Duration(15 * MINUTE),
    max_uses=5,
    opened_by="release-manager",
)
DELEGATE = DelegateSession(id="child", parent="held", identity=AGENT, entitlement="helper")
CONSENT = Approval(
    id="consent",
    revision=7,
    state=ApprovalState.APPROVED,
    requested_by="release-manager",
    approved_by="change-manager",
    actions=ROWS,
    resources=PRODUCTION,
    not_before=Instant(NOW - HOUR),
    expires_at=Instant(NOW + 30 * MINUTE),
)


def entitlement(id_: str, identity: str) -> Entitlement:
    """Return a certified one."""
    return Entitlement(
        id=id_,
        revision=4,
        identity=IdentityScope([identity]),
        actions=ROWS,
        resources=PRODUCTION,
        certified_until=Instant(NOW + 100 * HOUR),
    )


FACTS: tuple[AnyFact, ...] = (
    Identity(id="spiffe://shop.example/ci/**", revision=1, kind=IdentityKind.CI_JOB, owner="head-of-payments"),
    Identity(id=AGENT, revision=2, kind=IdentityKind.AI_AGENT, owner="head-of-payments"),
    Task(id="release", revision=3, parent="quarter"),
    Task(id="quarter", revision=5),
    entitlement("writer", "spiffe://shop.example/ci/**"),
    entitlement("helper", AGENT),
    HELD,
)


NO_LIMITS = Limits()


def policy(limits: Limits = NO_LIMITS, approval: ApprovalRequirement | None = None) -> Policy:
    """Return a policy on production."""
    return Policy(name="production", actions=("**",), resources=("database:prod/**",), limits=limits, approval=approval)


LOOK_UP = Task(id="look-up", parent="release")


def view(*facts: AnyFact, policies: tuple[Policy, ...] = (), actor: Principal = REQUESTER) -> View:
    """Return a view of the story; a later fact of the same id replaces an earlier."""
    snapshot = Snapshot(PolicySet(policies))
    for fact in (*FACTS, *facts):
        snapshot.put(fact)
    snapshot.readiness = Readiness.READY
    return View(snapshot, NOW, actor)


def planned(outcome: Plan | Refused) -> Session:
    """Return the one session that is planned."""
    assert isinstance(outcome, Plan)
    (change,) = outcome.changes
    assert isinstance(change, Put)
    assert isinstance(change.fact, Session)
    return change.fact


def refusals(outcome: Plan | Refused) -> list[tuple[str, str]]:
    """Return rule and subject of what stands against it."""
    assert isinstance(outcome, Refused)
    assert not any("; " in one.remedy for one in outcome.reasons)  # it is parted from the message by that
    return [(one.rule, one.about) for one in outcome.reasons]


def told(outcome: Plan | Refused) -> tuple[str, str]:
    """Return what is wrong and what would satisfy the rule."""
    assert isinstance(outcome, Refused)
    return outcome.reasons[0].message, outcome.reasons[0].remedy


def test_a_session_is_opened_as_asked_by_who_asks() -> None:
    """From now on; every field of the command."""
    command = changed(
        OPEN,
        constraints={"region": ["eu"]},
        ttl=Duration(10 * MINUTE),
        idle_timeout=Duration(MINUTE),
        max_uses=3,
        approval="consent",
    )
    assert planned(sessions.open_session(command, view(CONSENT))) == Session(
        id="new",
        identity=CI,
        task="release",
        entitlement="writer",
        approval="consent",
        actions=ROWS,
        resources=PRODUCTION,
        constraints={"region": ["eu"]},
        not_before=NOW,
        expires_at=Instant(NOW + 10 * MINUTE),
        idle_timeout=Duration(MINUTE),
        max_uses=3,
        opened_by="release-manager",
    )


def test_opening_rests_on_every_fact_that_bears_the_session() -> None:
    """Also on the absence of the identity's own record, and of a session of that id."""
    outcome = sessions.open_session(changed(OPEN, approval="consent"), view(CONSENT))
    assert isinstance(outcome, Plan)
    assert outcome.expected == {
        (FactKind.SESSION, "new"): 0,
        (FactKind.IDENTITY, CI): 0,
        (FactKind.IDENTITY, "spiffe://shop.example/ci/**"): 1,
        (FactKind.TASK, "release"): 3,
        (FactKind.TASK, "quarter"): 5,
        (FactKind.ENTITLEMENT, "writer"): 4,
        (FactKind.APPROVAL, "consent"): 7,
    }


@pytest.mark.parametrize(
    ("asked", "begins"), [(None, NOW), (NOW - HOUR, NOW), (NOW + HOUR, NOW + HOUR)], ids=["now", "past", "later"]
)
def test_a_session_begins_when_it_is_to_and_not_before_it_is_opened(asked: int | None, begins: int) -> None:
    """Nothing is backdated."""
    begin = None if asked is None else Instant(asked)
    opened = planned(sessions.open_session(changed(OPEN, not_before=begin, ttl=Duration(MINUTE)), view()))
    assert (opened.not_before, opened.expires_at) == (begins, begins + MINUTE)


@pytest.mark.parametrize(
    ("limits", "approval", "lasts"),
    [
        (Limits(), "", HOUR),
        (Limits(session_ttl=Duration(2 * HOUR)), "", HOUR),
        (Limits(session_ttl=Duration(20 * MINUTE)), "consent", 20 * MINUTE),
        (Limits(session_ttl=Duration(40 * MINUTE)), "consent", 30 * MINUTE),
    ],
)
def test_who_asks_for_no_end_gets_the_latest_that_all_allows(limits: Limits, approval: str, lasts: int) -> None:
    """An hour at most."""
    opened = planned(sessions.open_session(changed(OPEN, approval=approval), view(CONSENT, policies=(policy(limits),))))
    assert opened.expires_at == NOW + lasts


def test_a_window_may_be_as_long_as_the_cap_and_no_longer() -> None:
    """The refusal names the narrowest cap, and how long is allowed."""
    narrow = view(CONSENT, policies=(policy(Limits(session_ttl=Duration(20 * MINUTE))),))
    asked = changed(OPEN, approval="consent", ttl=Duration(20 * MINUTE))
    assert planned(sessions.open_session(asked, narrow)).expires_at == NOW + 20 * MINUTE
    outcome = sessions.open_session(changed(asked, ttl=Duration(20 * MINUTE + 1)), narrow)
    assert refusals(outcome) == [(Code.POLICY_LIMIT, "policy:production")]
    assert told(outcome) == (
        "policy `production` lets session `new` last until 2027-01-15T08:20:00Z at most",
        "ask for at most 20m",
    )


def test_what_is_told_to_be_allowed_is_in_whole_seconds() -> None:
    """So that who types it does not ask for a fraction too much."""
    narrow = view(CONSENT, policies=(policy(Limits(session_ttl=Duration(20 * MINUTE + 456_000_001))),))
    outcome = sessions.open_session(changed(OPEN, approval="consent", ttl=Duration(HOUR)), narrow)
    assert told(outcome) == (
        "policy `production` lets session `new` last until 2027-01-15T08:20:00Z at most",
        "ask for at most 20m",
    )


def test_an_approval_caps_what_it_consents_to() -> None:
    """A session must not be opened for longer than anybody consented."""
    outcome = sessions.open_session(changed(OPEN, approval="consent", ttl=Duration(HOUR)), view(CONSENT))
    assert refusals(outcome) == [(Code.POLICY_LIMIT, "approval:consent")]


def test_only_who_may_ask_for_an_identity_opens_its_sessions() -> None:
    """And hears of nothing else."""
    outcome = sessions.open_session(changed(OPEN, task="unknown"), view(actor=STRANGER))
    assert refusals(outcome) == [(Rule.NOT_YOURS, f"identity:{CI}")]


def test_a_session_is_of_one_identity() -> None:
    """Not of the family that the record stands for."""
    outcome = sessions.open_session(changed(OPEN, identity="spiffe://shop.example/ci/**"), view())
    assert refusals(outcome) == [(Code.IDENTITY_UNKNOWN, "identity:spiffe://shop.example/ci/**")]


def test_the_id_of_another_session_is_not_taken() -> None:
    """Closed or not."""
    assert (Rule.ALREADY_EXISTS, "session:held") in refusals(sessions.open_session(changed(OPEN, id="held"), view()))


def test_nobody_acts_on_their_own_consent() -> None:
    """Be it the last of several or not; an emergency is taken by one and reviewed after."""
    own = changed(CONSENT, approved_by="release-manager")
    earlier = changed(CONSENT, consents=(Consent(by="release-manager", at=NOW),))
    emergency = changed(own, kind=ApprovalKind.BREAK_GLASS, review_due=Instant(NOW + HOUR))
    command = changed(OPEN, approval="consent")
    for approval in (own, earlier):
        outcome = sessions.open_session(command, view(approval))
        assert refusals(outcome) == [(Rule.FOUR_EYES, "approval:consent")]
    assert planned(sessions.open_session(command, view(emergency))).approval == "consent"


def test_all_that_would_deny_is_told_in_the_precedence_of_reasons() -> None:
    """With the length, as if it were as short as allowed."""
    suspended = Identity(id=CI, kind=IdentityKind.CI_JOB, owner="head-of-payments", state=IdentityState.SUSPENDED)
    asking = policy(
        Limits(session_ttl=Duration(MINUTE)),
        ApprovalRequirement("production", frozenset([ApprovalKind.STANDARD])),
    )
    command = changed(OPEN, task="unknown", actions=ActionScope(["**"]), ttl=Duration(HOUR))
    assert refusals(sessions.open_session(command, view(suspended, policies=(asking,)))) == [
        (Code.IDENTITY_SUSPENDED, f"identity:{CI}"),
        (Code.TASK_UNKNOWN, "task:unknown"),
        (Code.APPROVAL_REQUIRED, "policy:production"),
        (Code.ACTION_OUT_OF_SCOPE, "entitlement:writer"),
        (Code.POLICY_LIMIT, "policy:production"),
    ]


def test_what_bears_a_session_no_more_is_told_once() -> None:
    """An approval that is over is over; how long it would allow is no further reason."""
    over = changed(CONSENT, expires_at=NOW)
    for ttl in (None, Duration(MINUTE)):
        outcome = sessions.open_session(changed(OPEN, approval="consent", ttl=ttl), view(over))
        assert refusals(outcome) == [(Code.APPROVAL_EXPIRED, "approval:consent")]


def test_renewing_moves_the_end_and_nothing_else() -> None:
    """From now on."""
    outcome = sessions.renew(RenewSession(session_id="held", ttl=Duration(30 * MINUTE)), view())
    assert planned(outcome) == changed(HELD, expires_at=Instant(NOW + 30 * MINUTE))


def test_renewing_rests_on_every_fact_that_bears_the_session() -> None:
    """The session itself among them."""
    outcome = sessions.renew(RenewSession(session_id="held"), view())
    assert isinstance(outcome, Plan)
    assert outcome.expected[FactKind.SESSION, "held"] == 9
    assert outcome.expected[FactKind.ENTITLEMENT, "writer"] == 4
    assert outcome.expected[FactKind.TASK, "quarter"] == 5


@pytest.mark.parametrize(("cap", "left"), [(50 * MINUTE, 40 * MINUTE), (2 * HOUR, HOUR)])
def test_renewing_without_an_end_goes_to_the_latest_that_all_allows(cap: int, left: int) -> None:
    """The whole window counts, from the session's beginning."""
    capped = view(policies=(policy(Limits(session_ttl=Duration(cap))),))
    renewed = planned(sessions.renew(RenewSession(session_id="held"), capped))
    assert renewed.expires_at == NOW + left


@pytest.mark.parametrize(
    ("cap", "ttl", "remedy"),
    [
        (40 * MINUTE, 31 * MINUTE, "ask for at most 30m, or ask again: open a new session"),
        (30 * MINUTE, 21 * MINUTE, "ask again: open a new session"),
        (30 * MINUTE, None, "ask again: open a new session"),
    ],
)
def test_renewing_never_goes_past_a_cap(cap: int, ttl: int | None, remedy: str) -> None:
    """Who needs longer asks again."""
    capped = view(policies=(policy(Limits(session_ttl=Duration(cap))),))
    command = RenewSession(session_id="held", ttl=None if ttl is None else Duration(ttl))
    outcome = sessions.renew(command, capped)
    assert refusals(outcome) == [(Code.POLICY_LIMIT, "policy:production")]
    assert told(outcome)[1] == remedy


@pytest.mark.parametrize("ttl", [20 * MINUTE, 5 * MINUTE])
def test_renewing_is_not_shortening(ttl: int) -> None:
    """The end moves later, or nothing does."""
    outcome = sessions.renew(RenewSession(session_id="held", ttl=Duration(ttl)), view())
    assert refusals(outcome) == [(Rule.ALREADY_EXISTS, "session:held")]


@pytest.mark.parametrize(
    ("fact", "code"),
    [
        (changed(HELD, state=SessionState.CLOSED), Code.SESSION_CLOSED),
        (changed(HELD, expires_at=NOW), Code.SESSION_EXPIRED),
        (changed(HELD, idle_timeout=Duration(10 * MINUTE)), Code.SESSION_IDLE),
        (Task(id="quarter", parent="release"), Code.TASK_UNKNOWN),
        (
            Revocation(
                id="r", target=RevocationTarget.SESSION, target_id="held", effective_at=NOW, reason="leaked token"
            ),
            Code.SESSION_REVOKED,
        ),
    ],
)
def test_what_has_ended_is_not_revived(fact: AnyFact, code: Code) -> None:
    """By whatever it ended."""
    (first, *_) = refusals(sessions.renew(RenewSession(session_id="held"), view(fact)))
    assert first[0] == code


def test_what_was_used_up_is_not_renewed() -> None:
    """A new end gives no new uses."""
    used = view()
    used.snapshot.session_uses["held"] = Use(5, NOW)
    assert refusals(sessions.renew(RenewSession(session_id="held"), used)) == [(Code.SESSION_EXHAUSTED, "session:held")]


@pytest.mark.parametrize(
    ("fields", "after"),
    [
        ({"actions": READ}, {"actions": READ}),
        ({"resources": USERS}, {"resources": USERS}),
        ({"ttl": Duration(MINUTE)}, {"expires_at": Instant(NOW + MINUTE)}),
        ({"idle_timeout": Duration(MINUTE)}, {"idle_timeout": Duration(MINUTE)}),
        ({"max_uses": 1}, {"max_uses": 1}),
        ({"constraints": {"region": ["eu"]}}, {"constraints": {"region": ["eu"]}}),
        ({"constraints": {"tier": [2]}}, {"constraints": {"region": ["eu", 1], "tier": [2]}}),
    ],
)
def test_narrowing_takes_what_it_names_and_nothing_else(fields: dict[str, Any], after: dict[str, Any]) -> None:
    """Each by itself."""
    assert planned(sessions.narrow(NarrowSession(session_id="held", **fields), view())) == changed(HELD, **after)


def test_what_had_no_bound_gets_one() -> None:
    """Any bound is narrower than none."""
    unbound = changed(HELD, idle_timeout=None, max_uses=None)
    command = NarrowSession(session_id="held", idle_timeout=Duration(HOUR), max_uses=1000)
    assert planned(sessions.narrow(command, view(unbound))) == changed(HELD, idle_timeout=Duration(HOUR), max_uses=1000)


@pytest.mark.parametrize(
    "fields",
    [
        {"actions": ActionScope(["rows.read", "keys.list"])},
        {"resources": ResourceScope(["database:**"])},
        {"ttl": Duration(21 * MINUTE)},
        {"idle_timeout": Duration(16 * MINUTE)},
        {"max_uses": 6},
        {"constraints": {"region": ["eu", "us"]}},
        {"constraints": {"region": [True]}},
        {},
        {"actions": ROWS, "resources": PRODUCTION, "ttl": Duration(20 * MINUTE), "max_uses": 5},
        {"constraints": {"region": ["eu", 1]}},
    ],
)
def test_what_would_widen_or_change_nothing_is_no_narrowing(fields: dict[str, Any]) -> None:
    """A value is among those allowed as JSON has it: true is not 1."""
    outcome = sessions.narrow(NarrowSession(session_id="held", **fields), view())
    assert refusals(outcome) == [(Rule.NOT_NARROWER, "session:held")]


def test_every_widening_is_told() -> None:
    """Even beside a narrowing."""
    command = NarrowSession(session_id="held", actions=READ, resources=ResourceScope(["**"]), max_uses=9)
    assert [one for one, _ in refusals(sessions.narrow(command, view()))] == [Rule.NOT_NARROWER, Rule.NOT_NARROWER]


def test_an_operator_narrows_for_anybody_and_a_requester_for_its_own() -> None:
    """Taking away is either's to do."""
    command = NarrowSession(session_id="held", max_uses=1)
    assert planned(sessions.narrow(command, view(actor=OPERATOR))).max_uses == 1
    assert refusals(sessions.narrow(command, view(actor=STRANGER))) == [(Rule.NOT_YOURS, f"identity:{CI}")]


@pytest.mark.parametrize("actor", [REQUESTER, OPERATOR, changed(STRANGER, name="opener")], ids=lambda one: one.name)
def test_a_session_is_closed_by_who_may_ask_for_it_who_opened_it_or_an_operator(actor: Principal) -> None:
    """Nothing else of it changes."""
    held = changed(HELD, opened_by="opener")
    closed = planned(sessions.close(CloseSession(session_id="held"), view(held, actor=actor)))
    assert closed == changed(held, state=SessionState.CLOSED)


def test_a_session_is_not_closed_by_anybody_else() -> None:
    """To hinder is a power, too."""
    outcome = sessions.close(CloseSession(session_id="held"), view(actor=STRANGER))
    assert refusals(outcome) == [(Rule.NOT_YOURS, f"identity:{CI}")]


def test_what_is_closed_is_neither_closed_nor_narrowed_again() -> None:
    """It says in which state it is."""
    closed = view(changed(HELD, state=SessionState.CLOSED))
    for outcome in (
        sessions.close(CloseSession(session_id="held"), closed),
        sessions.narrow(NarrowSession(session_id="held", max_uses=1), closed),
    ):
        assert refusals(outcome) == [(Rule.WRONG_STATE, "session:held")]
        assert told(outcome)[0] == "session `held` is closed already"


def test_a_session_that_is_not_known_is_not_found() -> None:
    """Whatever was to become of it."""
    for outcome in (
        sessions.renew(RenewSession(session_id="none"), view()),
        sessions.narrow(NarrowSession(session_id="none", max_uses=1), view()),
        sessions.close(CloseSession(session_id="none"), view()),
        sessions.delegate(changed(DELEGATE, parent="none"), view()),
    ):
        assert refusals(outcome) == [(Rule.NOT_FOUND, "session:none")]
        assert told(outcome)[0] == "session `none` is not known"


def test_what_a_child_does_not_name_is_its_parents() -> None:
    """Task, scope and end; of constraints and limits it has its own beside the parent's."""
    child = planned(sessions.delegate(DELEGATE, view()))
    assert child == Session(
        id="child",
        identity=AGENT,
        task="release",
        entitlement="helper",
        actions=ROWS,
        resources=PRODUCTION,
        not_before=NOW,
        expires_at=HELD.expires_at,
        parent="held",
        opened_by="release-manager",
    )


def test_a_child_is_made_as_asked_within_its_parent() -> None:
    """Every field of the command."""
    constraints: dict[str, list[Attribute]] = {"tier": [1]}
    command = changed(
        DELEGATE,
        task="look-up",
        approval="consent",
        actions=READ,
        resources=USERS,
        constraints=constraints,
        ttl=Duration(MINUTE),
        idle_timeout=Duration(SECOND),
        max_uses=1,
    )
    assert planned(sessions.delegate(command, view(CONSENT, LOOK_UP))) == Session(
        id="child",
        identity=AGENT,
        task="look-up",
        entitlement="helper",
        approval="consent",
        actions=READ,
        resources=USERS,
        constraints=constraints,
        not_before=NOW,
        expires_at=Instant(NOW + MINUTE),
        idle_timeout=Duration(SECOND),
        max_uses=1,
        parent="held",
        opened_by="release-manager",
    )


def test_a_child_rests_on_its_parent_and_on_what_that_rests_on() -> None:
    """So that neither has changed when it is written."""
    outcome = sessions.delegate(DELEGATE, view())
    assert isinstance(outcome, Plan)
    assert outcome.expected[FactKind.SESSION, "held"] == 9
    assert outcome.expected[FactKind.ENTITLEMENT, "writer"] == 4
    assert outcome.expected[FactKind.IDENTITY, "spiffe://shop.example/ci/**"] == 1


def test_a_child_of_a_session_that_begins_later_begins_with_it() -> None:
    """Its window lies in its parent's."""
    later = changed(HELD, not_before=Instant(NOW + MINUTE))
    assert planned(sessions.delegate(DELEGATE, view(later))).not_before == NOW + MINUTE


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"actions": ActionScope(["**"])}, [(Code.ACTION_OUT_OF_SCOPE, "entitlement:helper")]),
        ({"resources": PRODUCTION}, [(Code.RESOURCE_OUT_OF_SCOPE, "session:held")]),
        ({"ttl": Duration(HOUR)}, [(Code.POLICY_LIMIT, "session:held")]),
        ({"entitlement": "writer"}, [(Code.ENTITLEMENT_UNKNOWN, "entitlement:writer")]),
        ({"id": "held"}, [(Rule.ALREADY_EXISTS, "session:held")]),
    ],
)
def test_a_child_has_nothing_that_its_parent_or_its_own_entitlement_has_not(
    fields: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """Scope, window and eligibility."""
    narrow = changed(HELD, resources=USERS)
    found = refusals(sessions.delegate(changed(DELEGATE, **fields), view(narrow)))
    assert expected[0] in found


@pytest.mark.parametrize("task", ["quarter", "another"])
def test_a_child_acts_for_its_parents_task_or_a_part_of_it(task: str) -> None:
    """Neither for the whole that the parent's task is a part of, nor for other work."""
    outcome = sessions.delegate(changed(DELEGATE, task=task), view(Task(id="another")))
    assert refusals(outcome) == [(Code.TASK_MISMATCH, f"task:{task}")]


def test_only_a_live_session_delegates() -> None:
    """What stands against the parent is told, once."""
    outcome = sessions.delegate(DELEGATE, view(changed(HELD, state=SessionState.CLOSED)))
    assert refusals(outcome) == [(Code.SESSION_CLOSED, "session:held")]


def test_only_who_may_ask_for_the_parent_delegates_from_it() -> None:
    """It need not be able to ask for the child's identity."""
    outcome = sessions.delegate(DELEGATE, view(actor=STRANGER))
    assert refusals(outcome) == [(Rule.NOT_YOURS, f"identity:{CI}")]


def test_policies_say_how_deep_delegation_goes_and_what_must_be_approved() -> None:
    """The child is judged under all that overlap its scope."""
    flat = view(policies=(policy(Limits(delegation_depth=0)),))
    assert refusals(sessions.delegate(DELEGATE, flat)) == [(Code.POLICY_LIMIT, "policy:production")]
    asking = policy(approval=ApprovalRequirement("production", frozenset([ApprovalKind.STANDARD])))
    approved = view(CONSENT, changed(HELD, approval="consent"), policies=(asking,))
    assert refusals(sessions.delegate(DELEGATE, approved)) == [(Code.APPROVAL_REQUIRED, "policy:production")]
