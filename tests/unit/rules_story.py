"""A small story for tests of the rules of governance: an agent, its owner, and the people who administer it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pdp.core.lawful import faults_of
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Put,
    Revocation,
    RevocationTarget,
    Session,
    Task,
)
from pdp.core.policy.model import ApprovalRequirement, Limits, Policy
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.wording import SECOND
from pdp.governance.refusal import Refusal, Refused, Rule
from pdp.governance.roles import Principal, Role
from pdp.governance.view import Plan, View
from tests.unit.core_story import loaded

HOUR = Duration(3600 * SECOND)
NOW = Instant(1_000_000 * HOUR)
READ, ROWS = ActionScope(["rows.read"]), ResourceScope(["database:prod/users"])

AGENT = Identity(id="agent", kind=IdentityKind.AI_AGENT, owner="payments", revision=1)
FAMILY = Identity(id="ci/**", kind=IdentityKind.CI_JOB, owner="build-team", revision=2)
JOB = Task(id="job", owner="release-manager", revision=3)
READER = Entitlement(
    id="reader",
    identity=IdentityScope(["agent"]),
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:prod/**"]),
    certified_by="security",
    certified_until=Instant(NOW + 1000 * HOUR),
    granted_by="platform-operator",
    revision=4,
)
ASKED = Approval(
    id="consent",
    identity="agent",
    requested_by="release-manager",
    justification="to fix a row",
    actions=READ,
    resources=ROWS,
    not_before=NOW,
    expires_at=Instant(NOW + HOUR),
    revision=5,
)
OPENED = Session(
    id="s-1",
    identity="agent",
    task="job",
    entitlement="reader",
    actions=READ,
    resources=ROWS,
    not_before=NOW,
    expires_at=Instant(NOW + HOUR),
    opened_by="release-manager",
    revision=6,
)
UNLIMITED = Limits()
STORY: Sequence[AnyFact] = (AGENT, FAMILY, JOB, READER)

ANYBODY = IdentityScope(["**"])
REQUESTER = Principal(name="release-manager", roles=frozenset({Role.REQUESTER}), identities=ANYBODY)
APPROVER = Principal(name="change-manager", roles=frozenset({Role.APPROVER}), groups=frozenset({"change-board"}))
OPERATOR = Principal(name="platform-operator", roles=frozenset({Role.OPERATOR}))
REVIEWER = Principal(name="security", roles=frozenset({Role.REVIEWER}))
OWNER = Principal(name="head-of-payments", roles=frozenset(Role), groups=frozenset({"payments"}), identities=ANYBODY)


def view_of(actor: Principal, *more: AnyFact, policies: Iterable[Policy] = (), now: Instant = NOW) -> View:
    """Return what a rule looks at: the story and more, of which a later fact replaces an earlier of its id."""
    return View(loaded([*STORY, *more], *policies), now, actor, "for the test")


def policy(name: str = "production", limits: Limits = UNLIMITED, **requirement: object) -> Policy:
    """Return a policy on everything in production; with what it requires of an approval, if it is said."""
    asked = {"kinds": frozenset({ApprovalKind.STANDARD})} | requirement
    approval = ApprovalRequirement(policy=name, **asked) if requirement else None  # type: ignore[arg-type]  # by name
    return Policy(name=name, actions=("**",), resources=("database:prod/**",), approval=approval, limits=limits)


def revoked(
    target: RevocationTarget, target_id: str, *, by: str = "security", until: Instant | None = None
) -> Revocation:
    """Return a revocation in force."""
    return Revocation(
        id=f"r-{target_id}",
        target=target,
        target_id=target_id,
        effective_at=Instant(0),
        expires_at=until,
        reason="incident",
        revoked_by=by,
        revision=7,
    )


def written(outcome: Plan | Refused) -> list[AnyFact]:
    """Return the facts that a plan writes; all of them are lawful."""
    assert isinstance(outcome, Plan), outcome
    facts = [change.fact for change in outcome.changes if isinstance(change, Put)]
    assert [faults_of(fact) for fact in facts] == [[] for _ in facts]
    return facts


def reasons(outcome: Plan | Refused) -> tuple[Refusal, ...]:
    """Return why a command is refused; each says in one clause what would satisfy the rule."""
    assert isinstance(outcome, Refused), outcome
    assert all(one.message and one.remedy and "; " not in one.remedy for one in outcome.reasons)
    return outcome.reasons


def rules(outcome: Plan | Refused) -> list[Rule | Code]:
    """Return the rules that refuse a command."""
    return [one.rule for one in reasons(outcome)]
