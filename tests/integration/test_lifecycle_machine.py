"""Random commands, clock moves, restarts and checks over the real doors, against a simple model of who holds what.

The laws: no allow after an end, no child beyond its parent, no self-approval in force, no use beyond a limit, no
session past a cap; what is refused or a dry run changes nothing, and what the model says must be carried out is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.integration import lifecycle_commands as commands
from tests.integration.lifecycle_model import (
    ACTIONS,
    BASELINE,
    BREAK_GLASS,
    DAY,
    HOUR,
    MINUTE,
    RESOURCES,
    SECOND,
    STANDARD,
    Actor,
    Policy,
    Scope,
    World,
)
from tests.integration.lifecycle_requests import check_of, fact_told, facts_of, request_of
from tests.integration.lifecycle_sidecar import LifecycleSidecar
from tests.integration.serving import Refused

EXAMPLES = int(os.environ.get("PDP_TEST_LIFECYCLES", "10"))
MANY_EXAMPLES = int(os.environ.get("PDP_TEST_MANY_LIFECYCLES", "260"))
MANY_STEPS = 10_000
START = 4_000_000_000 * SECOND

AGENTS = ("agent-1", "agent-2", "agent-3")
ALL_ROLES = frozenset({"requester", "approver", "operator", "reviewer"})
ACTORS = (
    Actor("release-manager", frozenset({"requester"}), identities=frozenset({"agent-1", "agent-2"})),
    Actor("change-manager", frozenset({"approver"})),
    Actor("release-board", frozenset({"approver"}), groups=frozenset({"board"})),
    Actor("on-call-engineer", frozenset({"operator"})),
    Actor("head-of-payments", frozenset({"reviewer"})),
    Actor("platform", ALL_ROLES, groups=frozenset({"team-a", "board"}), identities=frozenset(AGENTS)),
)
APPROVERS = [one for one in ACTORS if "approver" in one.roles]
FIRST_OWNERS = {"agent-1": "team-b", "agent-2": "team-a", "agent-3": "change-manager"}
OWNERS = ("team-b", "team-b", "team-a", "change-manager", "head-of-payments")

a_place = st.integers(0, 5)
"""Which of the facts there are, counted from the latest."""
a_scope = st.builds(Scope, st.sampled_from(sorted(ACTIONS)), st.sampled_from(sorted(RESOURCES)))
maybe_scope = st.one_of(st.none(), a_scope)
a_ttl = st.sampled_from([SECOND, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR])
maybe_ttl = st.one_of(st.none(), a_ttl)
maybe_limit = st.one_of(st.none(), st.integers(1, 3))
maybe_idle = st.one_of(st.none(), st.sampled_from([5 * MINUTE, 20 * MINUTE]))
maybe_later = st.one_of(st.none(), st.none(), st.sampled_from([SECOND, 10 * MINUTE, -MINUTE]))


def _by(name: str) -> st.SearchStrategy[Actor]:
    """Return somebody, mostly with a role that permits a command."""
    suited = [one for one in ACTORS if one.roles.intersection(commands.ROLES[name])]
    return st.sampled_from([*suited * 4, *ACTORS])


seldom = st.integers(0, 7).map(lambda number: number == 7)
a_policy = st.builds(
    Policy,
    scope=a_scope,
    kinds=st.sampled_from([(), (STANDARD,), (STANDARD, BREAK_GLASS), (STANDARD, BREAK_GLASS)]),
    approvers=st.sampled_from([1, 1, 2]),
    groups=st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"board"})]),
    independent=st.booleans(),
    session_ttl=st.sampled_from([None, None, 10 * MINUTE, HOUR]),
    idle_timeout=st.sampled_from([None, None, 10 * MINUTE]),
    depth=st.sampled_from([None, None, 0, 1]),
    approval_ttl=st.sampled_from([None, None, 10 * MINUTE, 2 * HOUR]),
    break_glass_ttl=st.sampled_from([None, 10 * MINUTE]),
    review_within=st.sampled_from([None, 30 * MINUTE]),
    freeze=seldom,
)


class Lifecycle(RuleBasedStateMachine):
    """The product on one side, the model on the other."""

    steps: ClassVar[int] = 0
    allowed: ClassVar[int] = 0
    carried_out: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.world = World(START)
        self.sidecar = LifecycleSidecar(START, ACTORS)
        self.made = 0

    def teardown(self) -> None:
        """Compare all facts once more, and stop."""
        try:
            self.compare()
        finally:
            self.sidecar.close()

    @initialize()
    def begin(self) -> None:
        """Make what most commands need."""
        for agent, owner in FIRST_OWNERS.items():
            self.command("register_identity", None, {"new_id": agent, "owner": owner})
            entitlement = f"e-{agent}"
            scope = Scope("rows.*", "database:**")
            self.command(
                "grant_entitlement",
                None,
                {"new_id": entitlement, "identity": agent, "scope": scope, "max_session_ttl": None},
            )
            until = self.world.now + 30 * DAY
            self.command("certify_entitlement", None, {"entitlement_id": entitlement, "until": until})
        self.command("open_task", None, {"new_id": "work", "owner": "", "parent": ""})
        for agent in AGENTS[:2]:
            self._open_plainly(agent, f"s-{agent}")

    @invariant()
    def count(self) -> None:
        """Count the steps."""
        type(self).steps += 1

    @invariant()
    def every_answer_is_as_expected(self) -> None:
        """Asked without counting a use, after each step, under the latest sessions."""
        asked = [self._question(id_) for id_ in list(self.world.sessions)[-5:]]
        expected = [self.world.may(*one) for one in asked]
        assert [(one, self.sidecar.explain(check_of(*one))) for one in asked] == list(zip(asked, expected, strict=True))

    # Time, policies, lives

    @rule(by=st.sampled_from([SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, HOUR]))
    def pass_time(self, by: int) -> None:
        """Let some time pass."""
        self._advance(by)

    @rule(place=st.integers(0, 3), before=st.integers(0, 1))
    def pass_to_an_edge(self, place: int, before: int) -> None:
        """Let time pass until something ends or begins, or all but does."""
        edges = sorted({edge - before for edge in self._edges() if edge - before > self.world.now})
        if edges:
            self._advance(edges[min(place, len(edges) - 1)] - self.world.now)

    @rule(policies=st.lists(a_policy, max_size=2))
    def set_policies(self, policies: list[Policy]) -> None:
        """Replace the policies."""
        policies = [one for one in map(_lawful, policies) if one != Policy(one.scope)]
        self.sidecar.set_policies(policies)
        self.world.policies = (BASELINE, *policies)

    @rule(clean=st.booleans(), really=st.integers(0, 3))
    def live_again(self, clean: bool, really: int) -> None:
        """Stop and start, in order or not; what was not durable is on disk behind what is."""
        if really:
            return
        if clean:
            self.sidecar.restart()
        else:
            self.command("open_task", None, {"new_id": self._new("t"), "owner": "", "parent": ""})
            self.sidecar.crash()
        self.compare()

    # Checks

    @precondition(lambda self: self.world.sessions)
    @rule(
        place=a_place,
        action=st.sampled_from(["rows.read", "rows.write"]),
        resource=st.sampled_from(sorted(RESOURCES["database:**"])),
        other=seldom,
    )
    def check(self, place: int, action: str, resource: str, other: bool) -> None:
        """Ask under one session."""
        id_ = _pick(self.world.sessions, place)
        held = self.world.sessions.get(id_)
        subject = AGENTS[place % 3] if held is None or other else held.identity
        expected = self.world.may(subject, id_, action, resource)
        assert self.sidecar.check(check_of(subject, id_, action, resource)) == [expected]
        if expected:
            self._used(id_, 1)

    @precondition(lambda self: self.world.sessions)
    @rule(place=a_place, callers=st.integers(2, 6))
    def race(self, place: int, callers: int) -> None:
        """Ask under one session several times at once: exactly what is left is allowed."""
        id_ = _pick(self.world.sessions, place)
        question = self._question(id_)
        expected = min(callers, self.world.left(id_)) if self.world.may(*question) else 0
        assert sum(self.sidecar.check(*[check_of(*question)] * callers)) == expected
        self._used(id_, expected)

    @precondition(lambda self: self.world.sessions)
    @rule()
    def check_all(self) -> None:
        """Ask under every session."""
        for id_ in self.world.sessions:
            question = self._question(id_)
            expected = self.world.may(*question)
            assert (question, self.sidecar.check(check_of(*question))) == (question, [expected])
            self._used(id_, int(expected))

    # Commands

    @rule(actor=_by("register_identity"), number=st.integers(3, 4), owner=st.sampled_from(OWNERS), dry=seldom)
    def register_identity(self, actor: Actor, number: int, owner: str, dry: bool) -> None:
        """Mostly one that there is already."""
        self.command("register_identity", actor, {"new_id": f"agent-{number}", "owner": owner}, dry=dry)

    @rule(actor=_by("change_owner"), agent=st.sampled_from(AGENTS), owner=st.sampled_from(OWNERS), dry=seldom)
    def change_owner(self, actor: Actor, agent: str, owner: str, dry: bool) -> None:
        """Owners are people and teams, some of them principals."""
        self.command("change_owner", actor, {"identity_id": agent, "owner": owner}, dry=dry)

    @rule(
        name=st.sampled_from(["suspend_identity", "reinstate_identity", "reinstate_identity", "retire_identity"]),
        actor=_by("suspend_identity"),
        agent=st.sampled_from(AGENTS),
        dry=seldom,
        really=st.booleans(),
    )
    def move_identity(self, name: str, actor: Actor, agent: str, dry: bool, really: bool) -> None:
        """Retiring is for good, so not too often."""
        if really or name == "reinstate_identity":
            self.command(name, actor, {"identity_id": agent}, dry=dry)

    @rule(
        actor=_by("grant_entitlement"),
        agent=st.sampled_from(AGENTS),
        scope=a_scope,
        ttl=maybe_ttl,
        old=seldom,
        dry=seldom,
    )
    def grant_entitlement(self, actor: Actor, agent: str, scope: Scope, ttl: int | None, old: bool, dry: bool) -> None:
        """Mostly under a new id."""
        id_ = f"e-{agent}" if old else self._new("e")
        fields = {"new_id": id_, "identity": agent, "scope": scope, "max_session_ttl": ttl}
        self.command("grant_entitlement", actor, fields, dry=dry)

    @rule(actor=_by("narrow_entitlement"), place=a_place, scope=a_scope, ttl=maybe_ttl, dry=seldom)
    def narrow_entitlement(self, actor: Actor, place: int, scope: Scope, ttl: int | None, dry: bool) -> None:
        """Or try to widen it."""
        id_ = _pick(self.world.entitlements, place)
        self.command(
            "narrow_entitlement", actor, {"entitlement_id": id_, "scope": scope, "max_session_ttl": ttl}, dry=dry
        )

    @rule(
        actor=_by("certify_entitlement"),
        place=a_place,
        ahead=st.sampled_from([-HOUR, 0, HOUR, DAY, DAY, 400 * DAY, 401 * DAY]),
        dry=seldom,
    )
    def certify_entitlement(self, actor: Actor, place: int, ahead: int, dry: bool) -> None:
        """For some time, or none, or too long."""
        fields = {"entitlement_id": _pick(self.world.entitlements, place), "until": self.world.now + ahead}
        self.command("certify_entitlement", actor, fields, dry=dry)

    @rule(actor=_by("remove_entitlement"), place=a_place, dry=seldom, really=seldom)
    def remove_entitlement(self, actor: Actor, place: int, dry: bool, really: bool) -> None:
        """Not too often."""
        if really:
            self.command(
                "remove_entitlement", actor, {"entitlement_id": _pick(self.world.entitlements, place)}, dry=dry
            )

    @rule(
        actor=_by("request_approval"),
        agent=st.sampled_from(AGENTS),
        scope=a_scope,
        later=maybe_later,
        ttl=maybe_ttl,
        max_uses=maybe_limit,
        dry=seldom,
    )
    def request_approval(
        self,
        actor: Actor,
        agent: str,
        scope: Scope,
        later: int | None,
        ttl: int | None,
        max_uses: int | None,
        dry: bool,
    ) -> None:
        """For now or for later."""
        fields = {
            "new_id": self._new("a"),
            "identity": agent,
            "scope": scope,
            "not_before": None if later is None else self.world.now + later,
            "ttl": ttl,
            "max_uses": max_uses,
        }
        self.command("request_approval", actor, fields, dry=dry)

    @precondition(lambda self: self.world.approvals)
    @rule(
        name=st.sampled_from(["approve", "approve", "approve", "approve", "reject", "withdraw"]),
        actor=_by("approve"),
        place=a_place,
        dry=seldom,
    )
    def decide_approval(self, name: str, actor: Actor, place: int, dry: bool) -> None:
        """Also one's own."""
        self.command(name, actor, {"approval_id": _pick(self.world.approvals, place)}, dry=dry)

    @precondition(lambda self: any(BREAK_GLASS in one.kinds for one in self.world.policies))
    @rule(
        actor=_by("take_break_glass"),
        agent=st.sampled_from(AGENTS),
        place=a_place,
        scope=a_scope,
        incident=st.sampled_from(["INC-1", "INC-2", "work"]),
        ttl=maybe_ttl,
        dry=seldom,
    )
    def take_break_glass(
        self, actor: Actor, agent: str, place: int, scope: Scope, incident: str, ttl: int | None, dry: bool
    ) -> None:
        """Where policies permit it, or not."""
        fields = {
            "new_id": self._new("b"),
            "identity": agent,
            "entitlement": self._entitlement_of(agent, place),
            "scope": scope,
            "incident": incident,
            "ttl": ttl,
        }
        self.command("take_break_glass", actor, fields, dry=dry)

    @precondition(lambda self: any(one.kind == BREAK_GLASS for one in self.world.approvals.values()))
    @rule(actor=_by("keep_break_glass"), place=st.integers(0, 2), dry=seldom)
    def keep_break_glass(self, actor: Actor, place: int, dry: bool) -> None:
        """Review an emergency, also one's own."""
        taken = [id_ for id_, one in self.world.approvals.items() if one.kind == BREAK_GLASS]
        self.command("keep_break_glass", actor, {"approval_id": _pick(taken, place)}, dry=dry)

    @rule(
        actor=_by("open_task"),
        owner=st.sampled_from(["", "", "team-a", "release-manager"]),
        place=a_place,
        below=st.booleans(),
        dry=seldom,
    )
    def open_task(self, actor: Actor, owner: str, place: int, below: bool, dry: bool) -> None:
        """Open some of them below another."""
        parent = _pick(self.world.tasks, place) if below else ""
        self.command("open_task", actor, {"new_id": self._new("t"), "owner": owner, "parent": parent}, dry=dry)

    @rule(name=st.sampled_from(["complete_task", "cancel_task"]), actor=_by("complete_task"), place=a_place, dry=seldom)
    def end_task(self, name: str, actor: Actor, place: int, dry: bool) -> None:
        """Also one that is not one's own."""
        self.command(name, actor, {"task_id": _pick(self.world.tasks, place)}, dry=dry)

    @rule(
        actor=_by("open_session"),
        places=st.tuples(a_place, a_place, st.integers(0, 3)),
        scope=a_scope,
        later=maybe_later,
        ttl=maybe_ttl,
        idle=maybe_idle,
        max_uses=maybe_limit,
        dry=seldom,
    )
    def open_session(
        self,
        actor: Actor,
        places: tuple[int, int, int],
        scope: Scope,
        later: int | None,
        ttl: int | None,
        idle: int | None,
        max_uses: int | None,
        dry: bool,
    ) -> None:
        """Under an approval that has been given, most of the time that there is one."""
        agent = AGENTS[places[0] % 3]
        held = self._approval_of(agent, places[2])
        fields = {
            "new_id": self._new("s"),
            "identity": agent,
            "task": _pick(self.world.tasks, places[1]),
            "entitlement": self._entitlement_of(agent, places[0]),
            "approval": held,
            "scope": self.world.approvals[held].scope if held in self.world.approvals and places[1] else scope,
            "not_before": None if later is None else self.world.now + later,
            "ttl": ttl,
            "idle_timeout": idle,
            "max_uses": max_uses,
        }
        self.command("open_session", actor, fields, dry=dry)

    @rule(agent=st.sampled_from(AGENTS), idle=maybe_idle, max_uses=maybe_limit, to=st.sampled_from(["", *AGENTS]))
    def open_plainly(self, agent: str, idle: int | None, max_uses: int | None, to: str) -> None:
        """Open a session, and maybe delegate it at once, so that there is something to end."""
        id_ = self._new("s")
        self._open_plainly(agent, id_, idle=idle, max_uses=max_uses)
        if to:
            self._delegate_plainly(id_, to)

    @rule(
        agent=st.sampled_from(AGENTS),
        scope=a_scope,
        max_uses=maybe_limit,
        approvers=st.lists(st.sampled_from(APPROVERS), min_size=1, max_size=2),
        opener=st.sampled_from([None, None, ACTORS[-1]]),
        ttl=maybe_ttl,
    )
    def open_under_consent(
        self,
        agent: str,
        scope: Scope,
        max_uses: int | None,
        approvers: list[Actor],
        opener: Actor | None,
        ttl: int | None,
    ) -> None:
        """Ask, have one or two consent, and open two sessions that share it, also as one who has consented."""
        id_ = self._new("a")
        asked = {"new_id": id_, "identity": agent, "scope": scope, "not_before": None, "ttl": ttl, "max_uses": max_uses}
        self.command("request_approval", _asking_for(agent), asked)
        for actor in approvers:
            self.command("approve", actor, {"approval_id": id_})
        for _ in range(2):
            self._open_plainly(agent, self._new("s"), opener)

    @rule(place=a_place, incident=st.sampled_from(["INC-1", "INC-2"]), scope=a_scope)
    def break_glass_plainly(self, place: int, incident: str, scope: Scope) -> None:
        """Have policies permit it, and take it, for an agent that may still owe a review."""
        self.set_policies([Policy(scope, kinds=(STANDARD, BREAK_GLASS), review_within=30 * MINUTE)])
        agent = AGENTS[place % 2]
        fields = {
            "new_id": self._new("b"),
            "identity": agent,
            "entitlement": f"e-{agent}",
            "scope": scope,
            "incident": incident,
            "ttl": None,
        }
        self.command("take_break_glass", None, fields)

    @precondition(lambda self: self.world.sessions)
    @rule(place=a_place, to=st.sampled_from(AGENTS), max_uses=maybe_limit)
    def delegate_plainly(self, place: int, to: str, max_uses: int | None) -> None:
        """Delegate all of a session."""
        self._delegate_plainly(_pick(self.world.sessions, place), to, max_uses)

    @precondition(lambda self: self.world.sessions)
    @rule(
        actor=_by("delegate_session"),
        places=st.tuples(a_place, a_place, st.integers(0, 3)),
        scope=maybe_scope,
        ttl=maybe_ttl,
        idle=maybe_idle,
        max_uses=maybe_limit,
        dry=seldom,
    )
    def delegate_session(
        self,
        actor: Actor,
        places: tuple[int, int, int],
        scope: Scope | None,
        ttl: int | None,
        idle: int | None,
        max_uses: int | None,
        dry: bool,
    ) -> None:
        """Also beyond what the parent may do."""
        agent = AGENTS[places[1] % 3]
        fields = {
            "new_id": self._new("s"),
            "parent": _pick(self.world.sessions, places[0]),
            "identity": agent,
            "entitlement": self._entitlement_of(agent, places[1]),
            "task": "",
            "approval": self._approval_of(agent, places[2]),
            "scope": scope,
            "ttl": ttl,
            "idle_timeout": idle,
            "max_uses": max_uses,
        }
        self.command("delegate_session", actor, fields, dry=dry)

    @precondition(lambda self: self.world.sessions)
    @rule(actor=_by("renew_session"), place=a_place, ttl=maybe_ttl, dry=seldom)
    def renew_session(self, actor: Actor, place: int, ttl: int | None, dry: bool) -> None:
        """Also past its caps."""
        self.command("renew_session", actor, {"session_id": _pick(self.world.sessions, place), "ttl": ttl}, dry=dry)

    @precondition(lambda self: self.world.sessions)
    @rule(
        actor=_by("narrow_session"),
        place=a_place,
        scope=maybe_scope,
        ttl=maybe_ttl,
        idle=maybe_idle,
        max_uses=maybe_limit,
        dry=seldom,
    )
    def narrow_session(
        self,
        actor: Actor,
        place: int,
        scope: Scope | None,
        ttl: int | None,
        idle: int | None,
        max_uses: int | None,
        dry: bool,
    ) -> None:
        """Or try to widen it."""
        fields = {
            "session_id": _pick(self.world.sessions, place),
            "scope": scope,
            "ttl": ttl,
            "idle_timeout": idle,
            "max_uses": max_uses,
        }
        self.command("narrow_session", actor, fields, dry=dry)

    @precondition(lambda self: self.world.sessions)
    @rule(actor=_by("close_session"), place=a_place, dry=seldom)
    def close_session(self, actor: Actor, place: int, dry: bool) -> None:
        """Also somebody else's."""
        self.command("close_session", actor, {"session_id": _pick(self.world.sessions, place)}, dry=dry)

    @rule(
        actor=_by("revoke"),
        kind=st.sampled_from(["session", "session", "task", "approval", "entitlement", "identity", "owner"]),
        place=a_place,
        later=maybe_later,
        lasting=st.sampled_from([None, SECOND, 20 * MINUTE, 20 * MINUTE]),
        dry=seldom,
    )
    def revoke(self, actor: Actor, kind: str, place: int, later: int | None, lasting: int | None, dry: bool) -> None:
        """Now or later, for some time or for good."""
        effective = None if later is None else self.world.now + later
        fields = {
            "new_id": self._new("r"),
            "target": kind,
            "target_id": self._target(kind, place),
            "effective_at": effective,
            "expires_at": None if lasting is None else (effective or self.world.now) + lasting,
        }
        self.command("revoke", actor, fields, dry=dry)

    @precondition(lambda self: self.world.revocations)
    @rule(actor=_by("lift_revocation"), place=a_place, dry=seldom)
    def lift_revocation(self, actor: Actor, place: int, dry: bool) -> None:
        """Also one's own."""
        self.command("lift_revocation", actor, {"revocation_id": _pick(self.world.revocations, place)}, dry=dry)

    def command(self, name: str, actor: Actor | None, fields: Mapping[str, object], *, dry: bool = False) -> None:
        """Have a command carried out or refused, as the model says; refused, tried or sent again it changes nothing."""
        roles = commands.ROLES[name]
        actor = actor or next(one for one in ACTORS if one.roles.intersection(roles))
        effect = getattr(commands, name)(self.world, actor, **fields) if actor.roles.intersection(roles) else None
        before = self.sidecar.revision
        request = request_of(name, fields, key=self._new("key"), dry=dry)
        answer = self.sidecar.ask(actor.name, *request)
        refused = isinstance(answer, Refused)
        why = (answer.message, answer.rules, answer.fields) if isinstance(answer, Refused) else ()
        assert (name, actor.name, fields, refused, why) == (name, actor.name, fields, effect is None, why)
        if isinstance(answer, Refused):
            told = answer.reason == "ROLE_REQUIRED" or all(answer.metadata.get(key) for key in ("rule", "remedy"))
            assert told, (answer.reason, answer.metadata, answer.fields)
        assert self.sidecar.revision == before + (not refused and not dry)
        if effect is not None and not dry:
            effect()
            type(self).carried_out += 1
            again = self.sidecar.ask(actor.name, *request)
            assert getattr(again, "already_done", False), again
            assert self.sidecar.revision == before + 1

    def compare(self) -> None:
        """Compare every fact with the model's."""
        assert dict(map(fact_told, self.sidecar.facts("platform"))) == facts_of(self.world)

    def _advance(self, by: int) -> None:
        self.sidecar.advance(by)
        self.world.now += by

    def _used(self, id_: str, times: int) -> None:
        """Count allows; and the laws once more, in the plainest words."""
        if not times:
            return
        for _ in range(times):
            self.world.use(id_)
        type(self).allowed += times
        world = self.world
        for one in world.chain(world.sessions[id_]):
            assert one.state == "open"
            assert world.now < one.end
            assert one.max_uses is None or one.uses <= one.max_uses
            approval = world.approvals.get(one.approval)
            assert approval is None or approval.kind == BREAK_GLASS or approval.requested_by not in approval.consents

    def _question(self, id_: str) -> tuple[str, str, str, str]:
        """Return a question that a session's own scope covers."""
        held = self.world.sessions[id_]
        return held.identity, id_, min(ACTIONS[held.scope.actions]), min(RESOURCES[held.scope.resources])

    def _open_plainly(
        self, agent: str, id_: str, opener: Actor | None = None, idle: int | None = None, max_uses: int | None = None
    ) -> None:
        """Open a session as somebody would who wants one: under consent if there is any, within its scope."""
        world, given = self.world, self._approval_of(agent, 1)
        own = [id_ for id_, one in world.entitlements.items() if one.identity == agent and one.certified_until]
        held = own[0] if own else "nothing"
        scopes = [world.approvals[given].scope] if given else []
        scopes += [world.entitlements[held].scope] if held in world.entitlements else [Scope("rows.*", "database:**")]
        fields = {
            "new_id": id_,
            "identity": agent,
            "task": self._task(),
            "entitlement": held,
            "approval": given,
            "scope": scopes[0],
            "not_before": None,
            "ttl": None,
            "idle_timeout": idle,
            "max_uses": max_uses,
        }
        self.command("open_session", opener or _asking_for(agent), fields)

    def _task(self) -> str:
        """Return the latest task that goes on; open one if none does."""
        world = self.world
        if not any(world.going_on(id_, world.now) for id_ in world.tasks):
            self.command("open_task", None, {"new_id": self._new("t"), "owner": "", "parent": ""})
        return next(id_ for id_ in reversed(world.tasks) if world.going_on(id_, world.now))

    def _delegate_plainly(self, parent: str, to: str, max_uses: int | None = None) -> None:
        """Delegate all of a session, as who may ask for every agent."""
        fields = {
            "new_id": self._new("s"),
            "parent": parent,
            "identity": to,
            "entitlement": f"e-{to}",
            "task": "",
            "approval": "",
            "scope": None,
            "ttl": None,
            "idle_timeout": None,
            "max_uses": max_uses,
        }
        self.command("delegate_session", ACTORS[-1], fields)

    def _new(self, kind: str) -> str:
        self.made += 1
        return f"{kind}-{self.made}"

    def _entitlement_of(self, agent: str, place: int) -> str:
        """Return one of the agent's, or if the place is the last, of anybody's."""
        held = self.world.entitlements
        return _pick(held if place == 5 else [id_ for id_, one in held.items() if one.identity == agent], place)

    def _approval_of(self, agent: str, place: int) -> str:
        """Return one that was given, or if the place is the last, any; or none."""
        if place == 0:
            return ""
        held = self.world.approvals
        given = [id_ for id_, one in held.items() if one.identity == agent and one.state == "approved"]
        return _pick(held, place) if place == 3 else _pick(given, place - 1) if given else ""

    def _target(self, target: str, place: int) -> str:
        world = self.world
        known: dict[str, Mapping[str, object]] = {
            "session": world.sessions,
            "task": world.tasks,
            "approval": world.approvals,
            "entitlement": world.entitlements,
        }
        if target in known:
            return _pick(known[target], place)
        return AGENTS[place % 3] if target == "identity" else OWNERS[place % len(OWNERS)]

    def _edges(self) -> Iterator[int]:
        """Yield when time alone ends or begins something."""
        world = self.world
        for session in world.sessions.values():
            yield from (session.begin, session.end)
            idles = [session.idle, *(policy.idle_timeout for policy in world.policies)]
            yield from (max(session.begin, session.last_use) + idle for idle in idles if idle is not None)
        for approval in world.approvals.values():
            yield from (approval.begin, approval.end, approval.review_due or 0)
        for revocation in world.revocations.values():
            yield from (revocation.effective_at, revocation.expires_at or 0)
        yield from (one.certified_until or 0 for one in world.entitlements.values())


def _pick(ids: Mapping[str, object] | list[str], place: int) -> str:
    """Return one of the latest ids; one that is not known if there are none."""
    latest = list(ids)[-5:]
    return latest[-1 - place % len(latest)] if latest else "nothing"


def _asking_for(agent: str) -> Actor:
    """Return the first who may ask for an agent."""
    return next(one for one in ACTORS if one.asks_for(agent))


def _lawful(policy: Policy) -> Policy:
    """Return a policy that a file may hold: without an approval there is nothing to say of approvers."""
    return policy if policy.kinds else replace(policy, approvers=1, groups=frozenset(), independent=False)


def _run(examples: int) -> None:
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


PLATFORM, WIDE = ACTORS[-1], Scope("rows.*", "database:prod/**")
OPEN_ONE: dict[str, object] = {"agent": "agent-1", "idle": None, "max_uses": None, "to": ""}
CONSENT: dict[str, object] = {
    "agent": "agent-1",
    "scope": WIDE,
    "max_uses": None,
    "approvers": [ACTORS[1]],
    "opener": None,
    "ttl": None,
}
EMERGENCY: dict[str, object] = {"place": 0, "incident": "INC-1", "scope": WIDE}
STORIES: Mapping[str, list[tuple[str, dict[str, object]]]] = {
    "who has consented opens nothing under it": [
        ("open_under_consent", CONSENT | {"approvers": [PLATFORM], "opener": PLATFORM})
    ],
    "nobody consents to what they asked for, or for what their team owns": [
        ("open_under_consent", CONSENT | {"agent": "agent-3", "approvers": [PLATFORM]}),
        ("open_under_consent", CONSENT | {"agent": "agent-2", "approvers": [PLATFORM]}),
    ],
    "a child ends with a parent that is idle": [
        ("open_plainly", OPEN_ONE | {"idle": 5 * MINUTE, "to": "agent-2"}),
        ("pass_to_an_edge", {"place": 0, "before": 1}),
        ("pass_time", {"by": SECOND}),
    ],
    "a child uses up its parent, also over a crash": [
        ("open_plainly", OPEN_ONE | {"max_uses": 3, "to": "agent-2"}),
        ("race", {"place": 0, "callers": 2}),
        ("live_again", {"clean": False, "really": 0}),
        ("race", {"place": 1, "callers": 6}),
        ("live_again", {"clean": True, "really": 0}),
        ("check_all", {}),
    ],
    "an approval is used up over all its sessions": [
        ("open_under_consent", CONSENT | {"max_uses": 3}),
        ("race", {"place": 0, "callers": 2}),
        ("live_again", {"clean": False, "really": 0}),
        ("race", {"place": 1, "callers": 6}),
    ],
    "a session ends at its very end": [
        ("open_under_consent", CONSENT | {"ttl": 5 * MINUTE}),
        ("pass_to_an_edge", {"place": 0, "before": 1}),
        ("check_all", {}),
        ("pass_to_an_edge", {"place": 0, "before": 0}),
        ("check_all", {}),
    ],
    "who owes a review takes no other emergency, until somebody else has reviewed it": [
        ("break_glass_plainly", EMERGENCY),
        ("pass_time", {"by": HOUR}),
        ("break_glass_plainly", EMERGENCY),
        ("keep_break_glass", {"actor": ACTORS[4], "place": 0, "dry": False}),
        ("break_glass_plainly", EMERGENCY),
    ],
    "a session ends with the task above its own": [
        ("open_task", {"actor": ACTORS[0], "owner": "", "place": 0, "below": True, "dry": False}),
        ("open_plainly", OPEN_ONE),
        ("check_all", {}),
        ("end_task", {"name": "complete_task", "actor": ACTORS[0], "place": 1, "dry": False}),
        ("check_all", {}),
    ],
    "what is retired leaves nothing to act by": [
        ("open_under_consent", CONSENT),
        ("open_plainly", OPEN_ONE | {"to": "agent-2"}),
        (
            "move_identity",
            {"name": "retire_identity", "actor": PLATFORM, "agent": "agent-1", "dry": False, "really": True},
        ),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_the_laws_hold_where_chance_seldom_leads(story: str) -> None:
    """The same rules and the same comparisons, each step told."""
    lifecycle = Lifecycle()
    try:
        lifecycle.begin()
        for name, fields in STORIES[story]:
            getattr(lifecycle, name)(**fields)
            lifecycle.every_answer_is_as_expected()
    finally:
        lifecycle.teardown()


def test_the_lifecycle_does_what_the_model_says() -> None:
    """A few hundred steps."""
    _run(EXAMPLES)
    assert Lifecycle.allowed > 0
    assert Lifecycle.carried_out > 0


@pytest.mark.slow
def test_the_lifecycle_does_what_the_model_says_in_10000_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """And enough of them must have changed or allowed something, else little was tried."""
    Lifecycle.steps = Lifecycle.allowed = Lifecycle.carried_out = 0
    _run(MANY_EXAMPLES)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{Lifecycle.steps} steps: {Lifecycle.carried_out} commands carried out, {Lifecycle.allowed} allows\n"
        )
    assert Lifecycle.steps >= MANY_STEPS
    assert Lifecycle.carried_out >= MANY_STEPS // 5
    assert Lifecycle.allowed >= MANY_STEPS // 50
