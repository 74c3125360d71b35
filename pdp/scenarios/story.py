"""A scenario as a value: what there is at the start, and what then happens, step by step."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from pdp.core.model import AnyFact, Duration, FactKind, Instant, Revocation
from pdp.core.policy.model import Obligation
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.scenarios.driver import CheckSpec, ObservedPermission, Outcome, PermissionsSpec, ServiceFault


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


class SwapPolicies(Struct, frozen=True):
    """Replace the policy set."""

    policies: PolicySet


class Break(Struct, frozen=True):
    """Break something around the decision, or mend it."""

    fault: ServiceFault


Action: TypeAlias = Ask | AskWhy | AskWhat | Advance | SetClock | Write | Remove | Revoke | Amend | SwapPolicies | Break


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
    now: Instant
    facts: tuple[AnyFact, ...]
    steps: tuple[Step, ...]
