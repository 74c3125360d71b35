"""What a fact must satisfy beyond the types of its fields, whichever door it comes through.

Rule 1: pure, and the same for facts files, scenarios and the administration door.
Rule 2: one fault per bad field, so that an author can mend all of them at once.
Rule 3: what one fact says about another is not judged here: facts arrive in any order, and a decision finds out.
Rule 4: identifiers are kept byte for byte; what cannot be one is refused, never mended.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Consent,
    Entitlement,
    Identity,
    Revocation,
    RevocationTarget,
    Session,
    Signal,
    Task,
)
from pdp.core.scope import IdentityScope, PatternError, Scope, check_pattern, is_pattern

Fault: TypeAlias = tuple[str, str]
"""The field at fault, and a message for its author."""

MAX_ID_BYTES = 2048
LAST_INSTANT = 253_402_300_800 * 1_000_000_000 - 1
"""The end of the year 9999, the last that RFC 3339 can write."""
MAX_COUNT = (1 << 63) - 1
MAX_VALUE_DEPTH = 32
MAX_LISTED = 256
"""Patterns of a scope, constraints of a session, values of a constraint: decisions look at each of them, and what is
asked for is compared with what there is, one by one."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_PROSE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LEAST_INTEGER, _MOST_INTEGER = -(1 << 63), (1 << 64) - 1

_REQUIRED: Mapping[type[AnyFact], tuple[str, ...]] = {
    Identity: ("id",),
    Entitlement: ("id",),
    Approval: ("id", "requested_by"),
    Task: ("id",),
    Session: ("id", "identity", "task", "entitlement"),
    Revocation: ("id", "target_id", "reason"),
    Signal: ("id", "about", "name"),
}
_INSTANTS = ("not_before", "expires_at", "certified_until", "reviewed_at", "review_due", "effective_at", "at")
_DURATIONS = ("credential_max_age", "max_session_ttl", "idle_timeout")
_PROSE = ("reason", "justification")


def faults_of(fact: AnyFact) -> list[Fault]:
    """Return everything wrong with the fact; empty when it is lawful."""
    faults = list(_faults_of_fields(fact))
    at_fault = {field for field, _ in faults}
    return faults + [(field, message) for field, message in _faults_between_fields(fact) if field not in at_fault]


def _faults_of_fields(fact: AnyFact) -> Iterator[Fault]:
    required = _REQUIRED[type(fact)]
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        if name == "value":
            message = fault_of_attribute(value)
        elif isinstance(value, str):
            message = fault_of_text(value, required=name in required, prose=name in _PROSE)
        elif isinstance(value, Scope):
            message = _fault_of_scope(value)
        elif isinstance(value, dict):
            message = _fault_of_attributes(value)
        elif isinstance(value, tuple):
            message = _fault_of_consents(value)
        elif value is None:
            message = ""
        else:
            message = _fault_of_number(name, value)
        if message:
            yield name, message


def fault_of_text(text: str, *, required: bool = True, prose: bool = False) -> str:
    """Return why a text is no identifier (or, as prose, no line of reasoning), or nothing."""
    if required and not (text.strip() if prose else text):
        return "must not be empty"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "must be valid Unicode"
    if size > MAX_ID_BYTES:
        return f"must have at most {MAX_ID_BYTES} bytes, has {size}"
    if (_CONTROL_IN_PROSE if prose else _CONTROL).search(text):
        return "must not have control characters"
    return ""


def _fault_of_scope(scope: Scope) -> str:
    if not scope.patterns:
        return "must have at least one pattern"
    if fault := fault_of_many(scope.patterns):
        return fault
    return next(filter(None, map(fault_of_text, scope.patterns)), "")


def fault_of_many(listed: Collection[object]) -> str:
    """Return why there are too many of something that is listed, or nothing."""
    return "" if len(listed) <= MAX_LISTED else f"must have at most {MAX_LISTED}, has {len(listed)}"


def fault_of_constraints(constraints: Mapping[str, Sequence[Attribute]]) -> str:
    """Return why the constraints of a session are more than a decision can look at, or nothing."""
    return next(filter(None, map(fault_of_many, (constraints, *constraints.values()))), "")


def _fault_of_number(name: str, value: int) -> str:
    if name in _INSTANTS and not 0 <= value <= LAST_INSTANT:
        return "must lie in the years 1970 to 9999"
    if name in _DURATIONS and not 0 < value <= LAST_INSTANT:
        return "must be longer than nothing and shorter than 8000 years"
    if name == "max_uses" and not 1 <= value <= MAX_COUNT:
        return f"must be between 1 and {MAX_COUNT}"
    return ""


def _fault_of_consents(consents: tuple[Consent, ...]) -> str:
    people: set[str] = set()
    for consent in consents:
        if message := fault_of_text(consent.by):
            return f"`by` {message}"
        if message := _fault_of_number("at", consent.at):
            return f"`at` {message}"
        if message := next(filter(None, map(fault_of_text, consent.groups)), ""):
            return f"a group {message}"
        if consent.by in people:
            return f"must have each person once, has `{consent.by}` twice"
        people.add(consent.by)
    return ""


def _fault_of_attributes(attributes: Mapping[str, Attribute]) -> str:
    for name, value in attributes.items():
        if message := fault_of_text(name):
            return f"a name {message}"
        if message := fault_of_attribute(value):
            return f"`{name}` {message}"
    return ""


def fault_of_attribute(value: Attribute, depth: int = 0) -> str:
    """Return why a value cannot be kept as JSON, exactly, or nothing."""
    if isinstance(value, list | dict):
        return _fault_inside(value, depth + 1)
    if isinstance(value, str):
        return fault_of_text(value, required=False, prose=True)
    if isinstance(value, int):
        return "" if _LEAST_INTEGER <= value <= _MOST_INTEGER else "must fit in 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "must be a finite number"
    return "" if value is None else "must be a JSON value"


def _fault_inside(value: list[Attribute] | dict[str, Attribute], depth: int) -> str:
    if depth > MAX_VALUE_DEPTH:
        return f"must not be nested deeper than {MAX_VALUE_DEPTH} levels"
    items = value if isinstance(value, list) else [*value, *value.values()]
    return next(filter(None, (fault_of_attribute(item, depth) for item in items)), "")


def _faults_between_fields(fact: AnyFact) -> Iterator[Fault]:
    match fact:
        case Identity():
            yield from _fault_of_pattern("id", fact.id)
        case Approval():
            yield from _faults_of_approval(fact)
        case Session():
            yield from _faults_of_session(fact)
        case Task() if fact.parent and fact.parent == fact.id:
            yield "parent", f"task `{fact.id}` must not be its own parent"
        case Revocation():
            yield from _faults_of_revocation(fact)
        case _:
            pass


def _fault_of_pattern(field: str, text: str) -> Iterator[Fault]:
    try:
        check_pattern(IdentityScope, text)
    except PatternError as error:
        yield field, str(error)


def _fault_of_window(fact: Approval | Session) -> Iterator[Fault]:
    if fact.expires_at <= fact.not_before:
        yield "expires_at", "must be after `not_before`"


def _faults_of_approval(approval: Approval) -> Iterator[Fault]:
    yield from _fault_of_window(approval)
    if approval.state is ApprovalState.APPROVED:
        yield from _fault_of_approver(approval)
    if approval.kind is ApprovalKind.BREAK_GLASS and approval.review_due is None:
        yield "review_due", "must say until when the emergency is reviewed, for its kind is `break_glass`"


def _fault_of_approver(approval: Approval) -> Iterator[Fault]:
    if not approval.approved_by:
        yield "approved_by", "must say who approved, for its state is `approved`"
    elif approval.consents and approval.approved_by not in {consent.by for consent in approval.consents}:
        yield "approved_by", "must be one of those who consented"


def _faults_of_session(session: Session) -> Iterator[Fault]:
    yield from _fault_of_window(session)
    if session.parent and session.parent == session.id:
        yield "parent", f"session `{session.id}` must not be its own parent"
    if is_pattern(session.identity):
        yield "identity", "must name one identity, not a pattern"
    if fault := fault_of_constraints(session.constraints):
        yield "constraints", fault
    empty = next((name for name, values in session.constraints.items() if not values), None)
    if empty is not None:
        yield "constraints", f"`{empty}` must list at least one value"


_TEXT_OF_OTHERS = (RevocationTarget.CREDENTIAL, RevocationTarget.ISSUER)
"""Targets whose ids others make, in which a `*` is a character."""


def _faults_of_revocation(revocation: Revocation) -> Iterator[Fault]:
    if revocation.target is RevocationTarget.IDENTITY:
        yield from _fault_of_pattern("target_id", revocation.target_id)
    elif is_pattern(revocation.target_id) and revocation.target not in _TEXT_OF_OTHERS:
        yield "target_id", "must be one id: only identities are revoked by pattern"
    if revocation.expires_at is not None and revocation.expires_at <= revocation.effective_at:
        yield "expires_at", "must be after `effective_at`"
