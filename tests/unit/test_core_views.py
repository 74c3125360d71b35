"""Explanations and permissions of a session say what its decisions will be."""

from __future__ import annotations

import re

from msgspec.structs import replace as changed

from pdp.core.explain import Verdict, explain
from pdp.core.model import ApprovalKind, Duration, Instant
from pdp.core.permissions import Permission, permissions
from pdp.core.policy.cel import Program
from pdp.core.policy.model import ApprovalRequirement, Condition, Limits, Policy
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope
from tests.unit.core_story import NOW, REQUEST, approval, chain, loaded, session

WRITES = Policy(
    name="writes",
    actions=("rows.write",),
    resources=("**",),
    approval=ApprovalRequirement("writes", frozenset([ApprovalKind.STANDARD]), re.compile("CHG-1")),
)
READS_AND_WRITES = changed(session(0), actions=ActionScope(["rows.read", "rows.write"]))


def test_nothing_about_a_session_has_passed_when_there_is_none() -> None:
    """Not even the rows about an approval, which a session may do without."""
    rows = explain(changed(REQUEST, session="lost"), loaded(chain(0)), NOW)[1]
    verdicts = {row.verdict for row in rows if row.code in (Code.APPROVAL_EXPIRED, Code.TASK_ENDED)}
    assert verdicts == {Verdict.NOT_REACHED}


def test_a_row_about_an_approval_passes_when_the_session_needs_none() -> None:
    """There is nothing to deny."""
    rows = explain(REQUEST, loaded(chain(0)), NOW)[1]
    assert {row.verdict for row in rows} == {Verdict.PASSED}


def test_the_constraints_of_the_whole_chain_are_listed_with_each_permission() -> None:
    """A permission without conditions would promise too much."""
    facts = [
        *chain(1),
        changed(session(0, "s-1"), constraints={"region": ["eu"]}),
        changed(session(1), constraints={"x": [1]}),
    ]
    expected = ("session `s-0` constrains `context.region`", "session `s-1` constrains `context.x`")
    assert permissions(REQUEST, loaded(facts), NOW).permissions == (Permission("**", "**", expected),)


def test_what_a_policy_denies_for_the_session_is_not_listed() -> None:
    """Of two actions only the one that needs no approval."""
    listed = permissions(REQUEST, loaded([*chain(0), READS_AND_WRITES], WRITES), NOW)
    assert listed.permissions == (Permission("rows.read", "**", ()),)


def test_the_action_asked_about_does_not_matter_to_the_list() -> None:
    """Not even when a policy denies it."""
    snapshot = loaded([*chain(0), READS_AND_WRITES], WRITES)
    assert permissions(changed(REQUEST, action="rows.write"), snapshot, NOW) == permissions(REQUEST, snapshot, NOW)


def test_the_list_ends_with_the_first_of_its_permissions() -> None:
    """Also when the limit that ends it holds for one of the actions only."""
    limited = Policy(name="short", actions=("rows.read",), resources=("**",), limits=Limits(idle_timeout=Duration(60)))
    listed = permissions(REQUEST, loaded([*chain(0), READS_AND_WRITES], limited), NOW)
    assert listed.valid_until == Instant(60)


def test_what_a_policy_still_asks_of_part_of_a_permission_is_listed() -> None:
    """Conditions, and an approval or a limit of a narrower class of requests."""
    source = "context.ok"
    asks = Policy(
        name="asks",
        actions=("rows.*",),
        resources=("database:**",),
        approval=ApprovalRequirement("asks", frozenset(ApprovalKind)),
        requirements=(Condition("asks", "is fine", Program(source)),),
        denials=(Condition("asks", "is frozen", Program(source)),),
        limits=Limits(session_ttl=Duration(1)),
    )
    facts = [*chain(0), changed(session(0), approval="consent"), approval(ApprovalKind.STANDARD)]
    assert permissions(REQUEST, loaded(facts, asks), NOW).permissions == (
        Permission(
            "**",
            "**",
            (
                "policy `asks` requires: is fine",
                "policy `asks` denies: is frozen",
                "policy `asks` asks for an approval on `database:**`",
                "policy `asks` limits sessions on `database:**`",
            ),
        ),
    )
