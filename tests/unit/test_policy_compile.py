"""Compiling: what a policy says survives, and everything wrong with it is said at once."""

from __future__ import annotations

import re

import pytest

from pdp.core.model import ApprovalKind, Duration
from pdp.core.policy.compile import (
    Complaint,
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
from pdp.core.policy.model import Limits, Obligation, Policy
from pdp.core.scope import ActionScope, ResourceScope

MATCH = WrittenMatch(ActionScope(["rows.*"]), ResourceScope(["database:prod/**"]))
LIMITS = Limits(Duration(1), Duration(2), 3, Duration(4), Duration(5), Duration(6), Duration(7))


def compiled(written: WrittenPolicy) -> Policy:
    """Return the policy; fail if there are complaints."""
    policy = compile_policy(written)
    assert isinstance(policy, Policy), policy
    return policy


def complaints(written: WrittenPolicy) -> list[Complaint]:
    """Return the complaints; fail if there are none."""
    found = compile_policy(written)
    assert not isinstance(found, Policy)
    return list(found)


def with_ticket(form: str) -> WrittenPolicy:
    """Return a policy that asks for a ticket of a form."""
    return WrittenPolicy("p", MATCH, require=WrittenRequirements(WrittenApproval(ticket=form)))


def with_condition(cel: str) -> WrittenPolicy:
    """Return a policy with one requirement."""
    return WrittenPolicy("p", MATCH, require=WrittenRequirements(context=(WrittenCondition("c", cel),)))


def test_everything_a_policy_says_is_compiled() -> None:
    """No key is dropped on the way."""
    policy = compiled(
        WrittenPolicy(
            "full",
            MATCH,
            require=WrittenRequirements(
                WrittenApproval(tuple(ApprovalKind), r"INC-\d+", independent=True, approvers=2, groups=("dba", "dba")),
                (WrittenCondition("a", "context.a == 1"),),
            ),
            limit=LIMITS,
            deny=(WrittenCondition("b", "context.b == 2"),),
            obligations=(WrittenObligation("o", {"x": 1}),),
            evidence=Evidence.DURABLE,
        )
    )
    assert policy.approval is not None
    assert (policy.name, policy.actions, policy.resources) == ("full", ("rows.*",), ("database:prod/**",))
    assert policy.approval.kinds == frozenset(ApprovalKind)
    assert policy.approval.ticket == re.compile(r"INC-\d+")
    assert policy.approval.independent
    assert (policy.approval.approvers, policy.approval.groups) == (2, frozenset({"dba"}))
    assert [condition.program.source for condition in policy.requirements] == ["context.a == 1"]
    assert [condition.program.source for condition in policy.denials] == ["context.b == 2"]
    assert policy.limits == LIMITS
    assert policy.obligations == (Obligation("o", {"x": 1}),)
    assert policy.durable


def test_break_glass_must_be_admitted_by_name() -> None:
    """An approval without kinds is a standard one."""
    policy = compiled(WrittenPolicy("p", MATCH, require=WrittenRequirements(WrittenApproval())))
    assert policy.approval is not None
    assert policy.approval.kinds == frozenset({ApprovalKind.STANDARD})


def with_approval(approval: WrittenApproval) -> WrittenPolicy:
    """Return a policy that asks for an approval."""
    return WrittenPolicy("p", MATCH, require=WrittenRequirements(approval))


@pytest.mark.parametrize(
    ("approval", "key", "message"),
    [
        (WrittenApproval(approvers=0), ("approvers",), "must be at least 1"),
        (WrittenApproval(groups=()), ("groups",), "must have at least one group"),
        (WrittenApproval(groups=("dba", "")), ("groups", 1), "must not be empty"),
    ],
)
def test_consent_that_nobody_could_give_is_refused(
    approval: WrittenApproval, key: tuple[str | int, ...], message: str
) -> None:
    """At the key, or the item, that is wrong."""
    assert complaints(with_approval(approval)) == [Complaint(("require", "approval", *key), message)]


def test_consent_beforehand_is_not_asked_of_what_is_taken_in_an_emergency() -> None:
    """It would look as if it protected something."""
    approval = WrittenApproval((ApprovalKind.BREAK_GLASS,), independent=True, approvers=2, groups=("dba",))
    message = "is asked of kind `standard` only, which `kinds` does not admit"
    assert complaints(with_approval(approval)) == [
        Complaint(("require", "approval", key), message) for key in ("independent", "approvers", "groups")
    ]


def test_all_complaints_come_at_once() -> None:
    """An author mends a policy in one go."""
    written = WrittenPolicy(
        "not a name",
        WrittenMatch(ActionScope([]), ResourceScope([])),
        require=WrittenRequirements(WrittenApproval((), "("), (WrittenCondition("", "nope"),)),
        limit=Limits(delegation_depth=-1),
        deny=(WrittenCondition("d", "1"),),
        obligations=(WrittenObligation(""),),
    )
    assert {complaint.path for complaint in complaints(written)} == {
        ("policy",),
        ("match", "actions"),
        ("match", "resources"),
        ("require", "approval", "kinds"),
        ("require", "approval", "ticket"),
        ("require", "context", 0, "name"),
        ("require", "context", 0, "cel"),
        ("limit", "delegation_depth"),
        ("deny", 0, "cel"),
        ("obligations", 0, "type"),
    }


def test_a_policy_that_asks_for_nothing_is_refused() -> None:
    """It would look as if it protected something."""
    assert [complaint.path for complaint in complaints(WrittenPolicy("p", MATCH))] == [()]


def test_two_conditions_of_one_name_are_refused() -> None:
    """A denial names the condition, so the name must say which."""
    twice = (WrittenCondition("c", "context.a == 1"), WrittenCondition("c", "context.b == 1"))
    assert [complaint.message for complaint in complaints(WrittenPolicy("p", MATCH, deny=twice))] == [
        "the name `c` is given twice"
    ]


@pytest.mark.parametrize(
    ("cel", "line", "column"),
    [
        ("context.a ==", 1, 13),
        ("context.a == 1 &&\n  nope", 2, 3),
        ("", 1, 1),
        ("1 + 1", 1, 1),
        ('in_hours(now, "22:00-04:00", "Europe/Berln")', 1, 31),
        ('in_hours(now, "22:00", "UTC")', 1, 16),
        ('in_hours(now, "08:00-08:00", "UTC")', 1, 16),
        ('true ||\n in_cidr(context.ip, "10.0.0/8")', 2, 23),
        ("on_days(now, 'mon-frx', 'UTC')", 1, 15),
        ('context.a == "é" && zzz', 1, 21),
        ("a" * 8193, 1, 1),
    ],
)
def test_a_bad_expression_is_located(cel: str, line: int, column: int) -> None:
    """Line and column count from 1 inside the expression, in characters."""
    (complaint,) = complaints(with_condition(cel))
    assert (complaint.line, complaint.column) == (line, column), complaint.message


def test_messages_of_expressions_are_in_the_house_style() -> None:
    """Lower case, input in backticks."""
    assert complaints(with_condition("contxt.a"))[0].message == "undeclared reference to `contxt.a`"


@pytest.mark.parametrize(
    "form", ["", "(", "CHG-[", "a" * 257, "(a+)+b", r"(\d+-)*x{2,}(a*b)*", "(a{1,9}){2,}", "[[a]", "a{99999999999}"]
)
def test_a_bad_ticket_form_is_refused(form: str) -> None:
    """Also one that Python merely finds doubtful, and one whose matching could take exponential time."""
    assert [complaint.path for complaint in complaints(with_ticket(form))] == [("require", "approval", "ticket")]


@pytest.mark.parametrize("form", [r"CHG-\d+", "(CHG|INC)-[0-9]{4,}", r"(?i)chg-\d+", "[A-Z]+-[0-9]+"])
def test_a_usual_ticket_form_is_taken(form: str) -> None:
    """The guard against exponential time leaves what people write alone."""
    approval = compiled(with_ticket(form)).approval
    assert approval is not None
    assert approval.ticket == re.compile(form)


def test_the_content_version_does_not_depend_on_order() -> None:
    """Neither of policies nor of patterns; nor on descriptions."""
    a, b = WrittenCondition("a", "context.a == 1"), WrittenCondition("b", "context.b == 1")
    one = compiled(WrittenPolicy("one", MATCH, deny=(a, b), description="about"))
    same = compiled(WrittenPolicy("one", MATCH, deny=(a, b)))
    two = compiled(
        WrittenPolicy("two", WrittenMatch(ActionScope(["a", "b"]), ResourceScope(["x:y", "x:z"])), deny=(a,))
    )
    same_two = compiled(
        WrittenPolicy("two", WrittenMatch(ActionScope(["b", "a"]), ResourceScope(["x:z", "x:y"])), deny=(a,))
    )
    assert content_version([one, two]) == content_version([same_two, same])


def test_the_content_version_depends_on_the_order_of_conditions() -> None:
    """It is the order of the reasons, so a decision computed again under the other order would differ."""
    a, b = WrittenCondition("a", "context.a == 1"), WrittenCondition("b", "context.b == 1")
    orders = [WrittenPolicy("one", MATCH, deny=order) for order in ((a, b), (b, a))]
    assert len({content_version([compiled(order)]) for order in orders}) == 2


@pytest.mark.parametrize(
    "other",
    [
        WrittenPolicy("other", MATCH, deny=(WrittenCondition("a", "context.a == 1"),)),
        WrittenPolicy("one", MATCH, deny=(WrittenCondition("a", "context.a == 2"),)),
        WrittenPolicy("one", MATCH, require=WrittenRequirements(context=(WrittenCondition("a", "context.a == 1"),))),
        WrittenPolicy("one", MATCH, deny=(WrittenCondition("a", "context.a == 1"),), evidence=Evidence.DURABLE),
        WrittenPolicy("one", MATCH, deny=(WrittenCondition("a", "context.a == 1"),), limit=Limits(Duration(1))),
    ],
)
def test_the_content_version_depends_on_what_is_said(other: WrittenPolicy) -> None:
    """Any difference in meaning is another version."""
    one = compiled(WrittenPolicy("one", MATCH, deny=(WrittenCondition("a", "context.a == 1"),)))
    assert content_version([one]) != content_version([compiled(other)])


def test_the_content_version_depends_on_whose_consent_is_asked_for() -> None:
    """How many people, and of which groups, in whatever order."""
    approvals = [
        WrittenApproval(),
        WrittenApproval(approvers=2),
        WrittenApproval(groups=("a", "b")),
        WrittenApproval(groups=("b", "a")),
    ]
    plain, two, groups, same_groups = (content_version([compiled(with_approval(one))]) for one in approvals)
    assert (len({plain, two, groups}), groups) == (3, same_groups)
