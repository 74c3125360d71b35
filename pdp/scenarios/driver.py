"""What a story needs of the thing it is told to: few verbs in, plain values out.

A driver may be the core in process, a server behind gRPC, or a client in any language. The verbs are those of the
wire contract, so nothing here depends on how an answer is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

from msgspec import Struct

from pdp.core.model import NO_ATTRIBUTES, AnyFact, Attributes, Credential, FactKind, Instant, Revision
from pdp.core.policy.model import Obligation
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.governance.commands import Command
from pdp.governance.refusal import Rule
from pdp.governance.roles import Principal


class Outcome(StrEnum):
    """What was decided."""

    ALLOW = "allow"
    DENY = "deny"


class ServiceFault(StrEnum):
    """What a story can break around the decision."""

    NONE = "none"
    STATE_NOT_READY = "state_not_ready"
    """No snapshot has been loaded."""
    STATE_STALE = "state_stale"
    """The store has not been heard of within the staleness bound."""
    EVIDENCE_UNAVAILABLE = "evidence_unavailable"
    """The journal cannot be written; only decisions that must be durable are refused."""
    OVERLOADED = "overloaded"
    """The sidecar sheds load."""
    INTERNAL_ERROR = "internal_error"
    """The sidecar itself fails."""


class CheckSpec(Struct, frozen=True, kw_only=True):
    """One question, as plain values; it may be malformed on purpose."""

    subject: str
    action: str
    resource: str
    """`type:id`."""
    session: str = ""
    task: str = ""
    context: Attributes = NO_ATTRIBUTES
    credential: Credential | None = None
    caller: str = ""
    """Empty: the transport itself admits only permitted callers."""
    subject_type: str = ""
    subject_properties: Attributes = NO_ATTRIBUTES
    action_properties: Attributes = NO_ATTRIBUTES
    resource_properties: Attributes = NO_ATTRIBUTES
    at_least_revision: Revision = 0
    request_id: str = ""


class PermissionsSpec(Struct, frozen=True, kw_only=True):
    """Whose permissions are asked for."""

    subject: str
    session: str = ""
    task: str = ""
    context: Attributes = NO_ATTRIBUTES
    credential: Credential | None = None
    caller: str = ""


class ObservedReason(Struct, frozen=True):
    """One reason of an answer."""

    code: Code
    message: str = ""
    about: str = ""
    """The fact or policy it is about, as `kind:id`."""


class Observed(Struct, frozen=True, kw_only=True):
    """An answer; texts are empty for what it does not name."""

    outcome: Outcome
    reasons: tuple[ObservedReason, ...]
    """In precedence order, never empty."""
    policies: tuple[str, ...] = ()
    identity: str = ""
    owner: str = ""
    session: str = ""
    task: str = ""
    entitlement: str = ""
    approval: str = ""
    ticket: str = ""
    valid_until: Instant | None = None
    """Of an allow only."""
    obligations: tuple[Obligation, ...] = ()
    revision: Revision = 0
    policy_version: str = ""


class ObservedPermission(Struct, frozen=True):
    """One pair of patterns that may be acted in, and what policies still ask there."""

    action: str
    resource: str
    conditions: tuple[str, ...] = ()


class ObservedPermissions(Struct, frozen=True):
    """What a session may do; `reasons` say why nothing, if its session is not live."""

    permissions: tuple[ObservedPermission, ...]
    reasons: tuple[ObservedReason, ...] = ()


class ObservedExplanation(Struct, frozen=True):
    """The rows of the decision table that did not pass, in precedence order, each code once."""

    failed: tuple[ObservedReason, ...]
    not_reached: tuple[Code, ...]


class RoleRule(StrEnum):
    """What is asked of a principal before any rule of a command is."""

    ROLE_REQUIRED = "ROLE_REQUIRED"
    """None of its roles permits the command; the door's own reason."""


RefusalRule: TypeAlias = Rule | Code | RoleRule


class ObservedRefusal(Struct, frozen=True, kw_only=True):
    """Why a command was not carried out."""

    rules: tuple[RefusalRule, ...]
    """Every rule that stands against it, each once, the most telling first; never empty."""
    message: str
    """Of the first rule; so are the others."""
    remedy: str = ""
    about: str = ""
    """The fact or policy it is about, as `kind:id`."""


class DriverError(Exception):
    """The thing under test did not answer as any driver must; the message says what happened."""


class Driver(Protocol):
    """Tells one story. Every write returns its revision, and the very next check must obey it."""

    async def start(
        self,
        policies: PolicySet,
        callers: Mapping[str, Sequence[str]],
        principals: Sequence[Principal],
        now: Instant,
    ) -> None:
        """Begin with no facts. `callers` maps a caller to patterns of the subjects it may ask about.

        A caller that is not in the map may ask about itself only; `principals` are those who command. Called once,
        before all else.
        """

    async def set_policies(self, policies: PolicySet) -> None:
        """Replace the policy set as a whole."""

    async def set_clock(self, now: Instant) -> None:
        """Set the wall clock; it may be set back, but decision time must not follow it there."""

    async def set_fault(self, fault: ServiceFault) -> None:
        """Break or mend what lies around the decision; replaces an earlier fault."""

    async def apply(self, facts: Sequence[AnyFact]) -> Revision:
        """Write facts in one commit."""

    async def drop(self, kind: FactKind, id_: str) -> Revision:
        """Remove a fact."""

    async def carry_out(self, command: Command, principal: str, reason: str) -> Revision | ObservedRefusal:
        """Command in the name of a principal of the story; a new fact without an id gets one of the driver's choice."""

    async def check(self, spec: CheckSpec) -> Observed:
        """Ask. A malformed question must be answered REQUEST_INVALID; an allow counts as a use."""

    async def explain(self, spec: CheckSpec) -> ObservedExplanation:
        """Ask for every row of the table; counts no use."""

    async def permissions(self, spec: PermissionsSpec) -> ObservedPermissions:
        """Ask what may be done; counts no use."""

    async def close(self) -> None:
        """Release everything; called once, also after a failure, and also when `start` failed."""


DriverFactory: TypeAlias = Callable[[], Driver]
"""Makes a driver for one story."""
