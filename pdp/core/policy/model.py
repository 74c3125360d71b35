"""What a policy says, compiled.

Rule 1: a policy never grants; it asks for more, forbids, or limits.
Rule 2: all policies whose `match` covers the request apply together, so neither their order nor a duplicate
changes the meaning.
Rule 3: an error while evaluating a deny rule denies; an error in a requirement leaves it unmet.
"""

from __future__ import annotations

import re

from msgspec import Struct

from pdp.core.model import ApprovalKind, Attribute, Duration
from pdp.core.policy.cel import Program


class Condition(Struct, frozen=True):
    """A named CEL expression of a policy."""

    policy: str
    name: str
    program: Program


class ApprovalRequirement(Struct, frozen=True):
    """The approval a policy asks for."""

    policy: str
    kinds: frozenset[ApprovalKind]
    ticket: re.Pattern[str] | None = None
    """Must match the whole ticket."""
    independent: bool = False
    """No approver is the requester, the identity, or its owner; like the two below, asked of kind standard only."""
    approvers: int = 1
    """How many different people must have consented."""
    groups: frozenset[str] = frozenset()
    """If any, only consents of people in one of them count."""


class Limits(Struct, frozen=True):
    """Upper bounds; None is unlimited."""

    session_ttl: Duration | None = None
    """Longest window a session may have."""
    idle_timeout: Duration | None = None
    delegation_depth: int | None = None
    """Most ancestors a session may have."""
    credential_age: Duration | None = None
    approval_ttl: Duration | None = None
    """Longest window of a standard approval."""
    break_glass_ttl: Duration | None = None
    """Longest window of a break-glass approval."""
    review_within: Duration | None = None
    """How soon after it was taken a break-glass approval must be reviewed."""


class Obligation(Struct, frozen=True):
    """What the enforcement point must do when it lets the action through."""

    type: str
    parameters: dict[str, Attribute] = {}


class Policy(Struct, frozen=True):
    """One policy as its author wrote it, with conditions compiled."""

    name: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    approval: ApprovalRequirement | None = None
    requirements: tuple[Condition, ...] = ()
    denials: tuple[Condition, ...] = ()
    limits: Limits = Limits()
    obligations: tuple[Obligation, ...] = ()
    durable: bool = False
    """Whether decisions are answered only after their evidence is on disk."""
