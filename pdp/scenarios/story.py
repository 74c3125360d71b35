"""A scenario as a value: what there is at the start, and what then happens, step by step."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from pdp.core.model import AnyFact, Duration, FactKind, Instant, Revocation
from pdp.core.policy.model import Obligation
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.governance.commands import Command
from pdp.governance.roles import Principal
from pdp.scenarios.driver import (
    CheckSpec,
    ObservedPermission,
    Outcome,
    PermissionsSpec,
    RefusalRule,
    ServiceFault,
)


class Expectation(Struct, frozen=True, kw_only=True):
    """What an answer should be; None: not compared."""

    outcome: Outcome | None = None
    code: Code | None = None
    """The primary reason."""
    codes: tuple[Code, ...] | None = None
    """All reasons, in order."""
    message: str | None = None
    """Part of the primary reason's message."""
    about: str | None = None
    """The fact or policy the primary reason is about, as `kind:id`."""
    policies: tuple[str, ...] | None = None
    """The policies that applied, in any order."""
    valid_until: Instant | None = None
    obligations: tuple[Obligation, ...] | None = None
    """In any order."""
    identity: str | None = None
    owner: str | None = None
    session: str | None = None
    task: str | None = None
    entitlement: str | None = None
    approval: str | None = None
    ticket: str | None = None


class ExpectedRows(Struct, frozen=True, kw_only=True):
    """Which rows of the decision table should not pass; None: not compared."""

    failed: tuple[Code, ...]
    not_reached: tuple[Code, ...] | None = None


class ExpectedPermissions(Struct, frozen=True, kw_only=True):
    """What should be permitted, in any order, and why nothing is."""

    permissions: tuple[ObservedPermission, ...] = ()
    codes: tuple[Code, ...] = ()


class ExpectedRefusal(Struct, frozen=True, kw_only=True):
    """Why a command should not be carried out; None: not compared."""

    rules: tuple[RefusalRule, ...]
    """The first rule that stands against it; or all of them, in order."""
    complete: bool
    """Whether these are all of them."""
    message: str | None = None
    """Part of the first rule's message."""
    remedy: str | None = None
    """Part of its remedy."""
    about: str | None = None
    """The fact or policy it is about, as `kind:id`."""


class RevisionAsked(Struct, frozen=True):
    """A revision relative to the latest write of the story, for absolute ones differ between drivers."""

    ahead: int = 0


class Ask(Struct, frozen=True, kw_only=True):
    """Check, as often as `repeat` says; every answer must be as expected."""

    spec: CheckSpec
    expect: Expectation
    at_least: RevisionAsked | None = None
    repeat: int = 1


class AskWhy(Struct, frozen=True, kw_only=True):
    """Explain."""

    spec: CheckSpec
    expect: ExpectedRows
    at_least: RevisionAsked | None = None


class AskWhat(Struct, frozen=True, kw_only=True):
    """List permissions."""

    spec: PermissionsSpec
    expect: ExpectedPermissions


class Advance(Struct, frozen=True):
    """Let time pass."""

    by: Duration


class SetClock(Struct, frozen=True):
    """Set the wall clock."""

    to: Instant


class Write(Struct, frozen=True):
    """Write facts."""

    facts: tuple[AnyFact, ...]


class Remove(Struct, frozen=True):
    """Remove a fact."""

    kind: FactKind
    id: str


class Revoke(Struct, frozen=True):
    """Revoke something; without `effective_at` as of now."""

    revocation: Revocation
    immediately: bool


class Amend(Struct, frozen=True):
    """Change the state of a fact that is known, e.g. complete a task; `verb` is the key in the file."""

    verb: str
    id: str
    by: str = ""
    until: Instant | None = None


class CarryOut(Struct, frozen=True, kw_only=True):
    """Have a principal command something."""

    command: Command
    principal: str
    reason: str = ""
    expect: ExpectedRefusal | None = None
    """None: it must be carried out."""


class SwapPolicies(Struct, frozen=True):
    """Replace the policy set."""

    policies: PolicySet


class Break(Struct, frozen=True):
    """Break something around the decision, or mend it."""

    fault: ServiceFault


Asking: TypeAlias = Ask | AskWhy | AskWhat
Surroundings: TypeAlias = Advance | SetClock | SwapPolicies | Break
FactsChange: TypeAlias = Write | Remove | Revoke | Amend
Action: TypeAlias = Asking | Surroundings | FactsChange | CarryOut


class Step(Struct, frozen=True):
    """One step, and the line it was written at."""

    line: int
    name: str
    action: Action


class Scenario(Struct, frozen=True, kw_only=True):
    """One story."""

    name: str
    description: str
    source: str
    """The file it was read from, as it was named."""
    policies: PolicySet
    callers: dict[str, tuple[str, ...]]
    principals: tuple[Principal, ...]
    now: Instant
    facts: tuple[AnyFact, ...]
    steps: tuple[Step, ...]
