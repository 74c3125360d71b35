"""From a policy as its author wrote it to one that can be evaluated, or to everything that is wrong with it.

Rule 1: all faults of a policy are found at once, each with its place, down to line and column of an expression.
Rule 2: what can never do what its author hoped is refused: a pattern, expression, or ticket form that matches
nothing, a policy that asks for nothing.
Rule 3: the content version depends on what policies mean to say and on nothing else: not on file names, the order
of policies or keys, comments, or descriptions.

Pure: the shapes below are filled from YAML elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from pdp.core.lawful import fault_of_text
from pdp.core.model import ApprovalKind, Attribute
from pdp.core.policy import ticket_form
from pdp.core.policy.cel import ExpressionError, Program
from pdp.core.policy.model import ApprovalRequirement, Condition, Limits, Obligation, Policy
from pdp.core.scope import ActionScope, ResourceScope

Path: TypeAlias = tuple[str | int, ...]

REQUIREMENTS, DENIALS = ("require", "context"), ("deny",)
"""The paths of the two lists of conditions."""
_APPROVAL = ("require", "approval")

MAX_EXPRESSION = 8192
"""Longest expression, in characters."""
MAX_TICKET_FORM = 256
"""Longest regular expression for tickets, in characters."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION_DIGITS = 16


class Evidence(StrEnum):
    """Whether a decision is answered before or only after its evidence is on disk."""

    DURABLE = "durable"
    BUFFERED = "buffered"


class WrittenMatch(Struct, frozen=True):
    """Which requests a policy is about."""

    actions: ActionScope
    resources: ResourceScope


class WrittenApproval(Struct, frozen=True):
    """The approval asked for; break-glass must be admitted by name."""

    kinds: tuple[ApprovalKind, ...] = (ApprovalKind.STANDARD,)
    ticket: str | None = None
    """Regular expression that must match the whole ticket (`re.fullmatch`)."""
    independent: bool = False
    approvers: int = 1
    groups: tuple[str, ...] | None = None
    """None is people of any group, or of none."""


_PLAIN_APPROVAL = WrittenApproval()


class WrittenCondition(Struct, frozen=True):
    """A named CEL expression."""

    name: str
    cel: str


class WrittenRequirements(Struct, frozen=True):
    """What must be there."""

    approval: WrittenApproval | None = None
    context: tuple[WrittenCondition, ...] = ()


class WrittenObligation(Struct, frozen=True):
    """What the enforcement point must do."""

    type: str
    parameters: dict[str, Attribute] = {}


class WrittenPolicy(Struct, frozen=True):
    """A policy with the keys of its file."""

    policy: str
    match: WrittenMatch
    description: str = ""
    require: WrittenRequirements = WrittenRequirements()
    limit: Limits = Limits()
    deny: tuple[WrittenCondition, ...] = ()
    obligations: tuple[WrittenObligation, ...] = ()
    evidence: Evidence | None = None
    """None is `buffered`."""


class Complaint(NamedTuple):
    """What is wrong, and where; line and column (from 1) count inside the text at the path, 0 is the whole."""

    path: Path
    message: str
    line: int = 0
    column: int = 0


def compile_policy(written: WrittenPolicy) -> Policy | tuple[Complaint, ...]:
    """Return the policy, or every complaint about it."""
    requirements, faults = compile_conditions(written.policy, _numbered(written.require.context, *REQUIREMENTS))
    denials, further_faults = compile_conditions(written.policy, _numbered(written.deny, *DENIALS))
    complaints = [*_complaints(written), *faults, *further_faults]
    ticket = _ticket_form(written.require.approval, complaints)
    if complaints:
        return tuple(complaints)
    return Policy(
        name=written.policy,
        actions=written.match.actions.patterns,
        resources=written.match.resources.patterns,
        approval=_approval(written, ticket),
        requirements=requirements,
        denials=denials,
        limits=written.limit,
        obligations=tuple(Obligation(item.type, item.parameters) for item in written.obligations),
        durable=written.evidence is Evidence.DURABLE,
    )


def content_version(policies: Iterable[Policy]) -> str:
    """Return 16 hex digits of the SHA-256 over the canonical form of the policies."""
    canonical = sorted(json.dumps(_canonical(policy), sort_keys=True) for policy in policies)
    return hashlib.sha256("\n".join(canonical).encode()).hexdigest()[:_VERSION_DIGITS]


def _complaints(written: WrittenPolicy) -> Iterator[Complaint]:
    if _NAME.fullmatch(written.policy) is None:
        message = f"`{written.policy[:128]}` is not a name: letters, digits, `.`, `_` and `-`, at most 128"
        yield Complaint(("policy",), message)
    for key, scope in (("actions", written.match.actions), ("resources", written.match.resources)):
        if not scope.patterns:
            yield Complaint(("match", key), "must have at least one pattern")
    if written.require.approval is not None:
        yield from _complaints_about_approval(written.require.approval)
    if (written.limit.delegation_depth or 0) < 0:
        yield Complaint(("limit", "delegation_depth"), "must not be negative")
    for number, obligation in enumerate(written.obligations):
        if message := fault_of_text(obligation.type):
            yield Complaint(("obligations", number, "type"), message)
    if _asks_nothing(written):
        yield Complaint((), f"policy `{written.policy}` asks for nothing: give it `require`, `limit`, `deny`, …")


def _complaints_about_approval(approval: WrittenApproval) -> Iterator[Complaint]:
    if not approval.kinds:
        yield Complaint((*_APPROVAL, "kinds"), "must have at least one kind")
    if approval.approvers < 1:
        yield Complaint((*_APPROVAL, "approvers"), "must be at least 1")
    if approval.groups == ():
        yield Complaint((*_APPROVAL, "groups"), "must have at least one group")
    for number, group in enumerate(approval.groups or ()):
        if message := fault_of_text(group):
            yield Complaint((*_APPROVAL, "groups", number), message)
    if ApprovalKind.STANDARD not in approval.kinds and approval.kinds:
        for key in ("independent", "approvers", "groups"):
            if getattr(approval, key) != getattr(_PLAIN_APPROVAL, key):
                message = "is asked of kind `standard` only, which `kinds` does not admit"
                yield Complaint((*_APPROVAL, key), message)


def _asks_nothing(written: WrittenPolicy) -> bool:
    asked = (
        written.require.approval,
        written.require.context,
        written.deny,
        written.obligations,
        written.evidence,
        written.limit != Limits(),
    )
    return not any(asked)


def compile_conditions(
    policy: str, written: Iterable[tuple[Path, WrittenCondition]]
) -> tuple[tuple[Condition, ...], tuple[Complaint, ...]]:
    """Return the conditions that compile, and what is wrong with the others; each is given with its path."""
    conditions: list[Condition] = []
    complaints: list[Complaint] = []
    names: set[str] = set()
    for path, condition in written:
        message = fault_of_text(condition.name)
        if condition.name in names:
            message = f"the name `{condition.name}` is given twice"
        names.add(condition.name)
        if message:
            complaints.append(Complaint((*path, "name"), message))
        try:
            conditions.append(Condition(policy, condition.name, _program(condition.cel)))
        except ExpressionError as error:
            complaints.append(Complaint((*path, "cel"), str(error), error.line, error.column))
    return tuple(conditions), tuple(complaints)


def _program(source: str) -> Program:
    if len(source) > MAX_EXPRESSION:
        message = f"an expression must have at most {MAX_EXPRESSION} characters"
        raise ExpressionError(message, 1, 1)
    return Program(source)


def _numbered(written: Sequence[WrittenCondition], *path: str) -> Iterator[tuple[Path, WrittenCondition]]:
    return (((*path, number), condition) for number, condition in enumerate(written))


def _ticket_form(approval: WrittenApproval | None, complaints: list[Complaint]) -> re.Pattern[str] | None:
    if approval is None or approval.ticket is None:
        return None
    path = (*_APPROVAL, "ticket")
    message = _fault_of_form(approval.ticket)
    if message:
        complaints.append(Complaint(path, message))
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python finds doubtful is most likely a mistake
            form, slow = re.compile(approval.ticket), ticket_form.fault_of(approval.ticket)
        if not slow:
            return form
        complaints.append(Complaint(path, slow))
    except re.error as error:
        complaints.append(Complaint(path, f"not a regular expression: {error.msg}", 1, (error.pos or 0) + 1))
    except (OverflowError, RecursionError, Warning) as error:
        complaints.append(Complaint(path, f"not a regular expression: {error}"))
    return None


def _fault_of_form(form: str) -> str:
    """Return why a text is not taken as a regular expression for tickets, or nothing."""
    if not form:
        return "must not be empty"
    if len(form) > MAX_TICKET_FORM:
        return f"must have at most {MAX_TICKET_FORM} characters"
    return ""


def _approval(written: WrittenPolicy, ticket: re.Pattern[str] | None) -> ApprovalRequirement | None:
    approval = written.require.approval
    if approval is None:
        return None
    return ApprovalRequirement(
        written.policy,
        frozenset(approval.kinds),
        ticket,
        approval.independent,
        approval.approvers,
        frozenset(approval.groups or ()),
    )


def _canonical(policy: Policy) -> dict[str, object]:
    """Return what the policy says as JSON values, with everything whose order means nothing sorted.

    The order of conditions is that of the reasons they give.
    """
    approval = policy.approval
    asked = None
    if approval is not None:
        ticket = None if approval.ticket is None else approval.ticket.pattern
        asked = {
            "kinds": sorted(approval.kinds),
            "ticket": ticket,
            "independent": approval.independent,
            "approvers": approval.approvers,
            "groups": sorted(approval.groups),
        }
    obligations = [{"type": item.type, "parameters": item.parameters} for item in policy.obligations]
    return {
        "policy": policy.name,
        "actions": sorted(set(policy.actions)),
        "resources": sorted(set(policy.resources)),
        "approval": asked,
        "requirements": [[condition.name, condition.program.source] for condition in policy.requirements],
        "denials": [[condition.name, condition.program.source] for condition in policy.denials],
        "limits": msgspec.to_builtins(policy.limits),
        "obligations": sorted(obligations, key=lambda item: json.dumps(item, sort_keys=True)),
        "durable": policy.durable,
    }
