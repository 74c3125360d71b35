"""In-process stand-ins for the clients, for users' own tests: no server, no socket, the same answers."""

# ruff: noqa: ASYNC109 - `timeout` becomes the deadline that the PDP is told, not only a local limit

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias, Unpack

from sessionpdp.answers import Explanation, Permission, Permissions
from sessionpdp.decision import Decision, Doubt
from sessionpdp.guard import AsyncGuarding, Guarding
from sessionpdp.request import (
    Action,
    Check,
    CheckFields,
    PermissionsFields,
    Resource,
    Subject,
    check_request,
    permissions_request,
)
from sessionpdp.v1 import decision_pb2, reasons_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

Obligations: TypeAlias = "tuple[decision_pb2.Obligation, ...]"


@dataclass(frozen=True, slots=True)
class _Rule:
    subject: str
    action: str
    resource: str
    session: str
    code: int
    obligations: Obligations = ()

    def covers(self, check: Check) -> bool:
        return (
            fnmatchcase(_subject_text(check.subject), self.subject)
            and fnmatchcase(_action_text(check.action), self.action)
            and fnmatchcase(_resource_text(check.resource), self.resource)
            and fnmatchcase(check.session, self.session)
        )


class Script:
    """What a fake answers: the verbs of a test's story.

    Patterns are shell-style (`*`, `?`), and cover everything if left out. As with a PDP, a deny overrides
    every allow, and what nothing covers is denied with SESSION_REQUIRED. `checks` has all checks asked.
    """

    def __init__(self) -> None:
        """Start with no rule: every check is denied."""
        self.checks: list[Check] = []
        self._rules: list[_Rule] = []
        self._trouble: Doubt | None = None

    def allow(
        self,
        *,
        subject: str = "*",
        action: str = "*",
        resource: str = "*",
        session: str = "*",
        obligations: Sequence[str] = (),
    ) -> None:
        """Allow what the patterns cover, under obligations of the given types."""
        obliged = tuple(decision_pb2.Obligation(type=kind) for kind in obligations)
        granted = reasons_pb2.REASON_CODE_GRANTED
        self._rules.append(_Rule(subject, action, resource, session, granted, obliged))

    def deny(
        self,
        code: str,
        *,
        subject: str = "*",
        action: str = "*",
        resource: str = "*",
        session: str = "*",
    ) -> None:
        """Deny what the patterns cover with a code such as `SESSION_EXPIRED`; override every allow."""
        number = reasons_pb2.ReasonCode.Value(f"REASON_CODE_{code}")
        self._rules.append(_Rule(subject, action, resource, session, number))

    def unreachable(self, doubt: Doubt = Doubt.PDP_UNREACHABLE) -> None:
        """Answer nothing from now on: every check is a deny with that doubt."""
        self._trouble = doubt

    def reachable(self) -> None:
        """Answer again."""
        self._trouble = None

    def reset(self) -> None:
        """Forget rules, trouble and checks."""
        self.checks.clear()
        self._rules.clear()
        self._trouble = None

    def _decide(self, check: Check) -> Decision:
        """Answer one check that counts."""
        self.checks.append(check)
        return self._answer(check)

    def _answer(self, check: Check) -> Decision:
        check_request(**check.fields())  # raises for what a client would refuse
        if self._trouble is not None:
            return Decision.undecided(self._trouble, "the fake was told so")
        rules = [rule for rule in self._rules if rule.covers(check)]
        allows = [rule for rule in rules if rule.code == reasons_pb2.REASON_CODE_GRANTED]
        denials = sorted({rule.code for rule in rules if rule not in allows})
        if allows and not denials:
            return self._decision(check, [allows[0].code], allows[0].obligations)
        return self._decision(check, denials or [reasons_pb2.REASON_CODE_SESSION_REQUIRED])

    def _decision(self, check: Check, codes: Sequence[int], obligations: Obligations = ()) -> Decision:
        granted = codes[0] == reasons_pb2.REASON_CODE_GRANTED
        answer = decision_pb2.Decision(
            outcome=decision_pb2.OUTCOME_ALLOW if granted else decision_pb2.OUTCOME_DENY,
            decision_id=f"fake-{len(self.checks)}",
            session_id=check.session,
            task_id=check.task,
            obligations=obligations,
        )
        for code in codes:
            answer.reasons.add(message="by the fake's rules").code = reasons_pb2.ReasonCode.ValueType(code)
        return Decision.from_wire(answer)

    def _permissions(self, fields: PermissionsFields) -> Permissions:
        permissions_request(**fields)  # raises for what a client would refuse
        if self._trouble is not None:
            return Permissions.undecided(Decision.undecided(self._trouble, "the fake was told so"))
        granted = [rule for rule in self._rules if rule.code == reasons_pb2.REASON_CODE_GRANTED]
        return Permissions(tuple(Permission(rule.action, rule.resource) for rule in granted))

    def _changes(self, check: Check) -> Iterator[Decision]:
        told = self._answer(check)
        yield told
        while (decision := self._answer(check)).reasons != told.reasons:
            told = decision
            yield told


class FakePDP(Script, Guarding):
    """Stands in for `PDP`."""

    def check(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Decision:
        """Answer by the rules."""
        del timeout
        return self._decide(Check(**fields))

    def check_many(self, checks: Sequence[Check], *, timeout: float | None = None) -> list[Decision]:
        """Answer each by the rules."""
        del timeout
        return [self._decide(check) for check in checks]

    def explain(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Explanation:
        """Answer by the rules, without the rows of a decision table."""
        del timeout
        return Explanation(self._answer(Check(**fields)))

    def permissions(self, *, timeout: float | None = None, **fields: Unpack[PermissionsFields]) -> Permissions:
        """Answer the patterns of all `allow` rules."""
        del timeout
        return self._permissions(fields)

    def watch(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Iterator[Decision]:
        """Iterate over the decision now and after each change of the rules; end when there is none."""
        del timeout
        return self._changes(Check(**fields))

    def close(self) -> None:
        """Do nothing."""


class FakeAsyncPDP(Script, AsyncGuarding):
    """Stands in for `AsyncPDP`."""

    async def check(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Decision:
        """Answer by the rules."""
        del timeout
        return self._decide(Check(**fields))

    async def check_many(self, checks: Sequence[Check], *, timeout: float | None = None) -> list[Decision]:
        """Answer each by the rules."""
        del timeout
        return [self._decide(check) for check in checks]

    async def explain(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Explanation:
        """Answer by the rules, without the rows of a decision table."""
        del timeout
        return Explanation(self._answer(Check(**fields)))

    async def permissions(self, *, timeout: float | None = None, **fields: Unpack[PermissionsFields]) -> Permissions:
        """Answer the patterns of all `allow` rules."""
        del timeout
        return self._permissions(fields)

    async def watch(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> AsyncGenerator[Decision]:
        """Iterate over the decision now and after each change of the rules; end when there is none."""
        del timeout
        for decision in self._changes(Check(**fields)):
            yield decision

    async def aclose(self) -> None:
        """Do nothing."""


def _subject_text(subject: str | Subject) -> str:
    return subject.id if isinstance(subject, Subject) else subject


def _action_text(action: str | Action) -> str:
    return action.name if isinstance(action, Action) else action


def _resource_text(resource: str | Resource) -> str:
    return f"{resource.type}:{resource.id}" if isinstance(resource, Resource) else resource
