"""Why a command is not carried out, and what would satisfy the rule.

Rule 1: a refusal names one rule, the fact or policy it is about, and what would satisfy it.
Rule 2: where a decision would deny for the same cause, the rule is that reason code (`core.reasons.Code`); the rules
below are those that no decision asks. docs/refusals.md lists both.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from pdp.core.reasons import Code


class Rule(StrEnum):
    """The rules of commands that no decision asks; wire-stable, like reason codes."""

    NOT_FOUND = "NOT_FOUND"
    """The fact named does not exist."""
    ALREADY_EXISTS = "ALREADY_EXISTS"
    """A fact of that id exists, or is as the command would make it."""
    WRONG_STATE = "WRONG_STATE"
    """The fact has ended, or is not in a state that the command starts from."""
    FOUR_EYES = "FOUR_EYES"
    """Nobody approves, certifies, reviews or lifts what they requested, own, used or did."""
    NOT_YOURS = "NOT_YOURS"
    """The principal may not ask for this identity, or change what belongs to another."""
    GROUP_REQUIRED = "GROUP_REQUIRED"
    """A policy names groups of approvers, and the principal is in none of them."""
    BREAK_GLASS_NOT_PERMITTED = "BREAK_GLASS_NOT_PERMITTED"
    """No policy permits to break glass in this scope."""
    NOT_NARROWER = "NOT_NARROWER"
    """What is called narrowing would widen, or change nothing."""
    KEY_REUSED = "KEY_REUSED"
    """The idempotency key has been used for another command."""


class Refusal(Struct, frozen=True):
    """One rule that stands against a command."""

    rule: Rule | Code
    message: str
    """What is wrong: lower case, no final period, ids in backticks."""
    remedy: str
    """What would satisfy the rule; one clause, without `; `, for on the wire that parts it from the message."""
    about: str = ""
    """The fact or policy it is about, as `kind:id`."""


class Refused(Struct, frozen=True):
    """A command is not carried out: every rule that stands against it, the most telling first."""

    reasons: tuple[Refusal, ...]


def refused(rule: Rule | Code, message: str, remedy: str, about: str = "") -> Refused:
    """Return what a single rule refuses."""
    return Refused((Refusal(rule, message, remedy, about),))
