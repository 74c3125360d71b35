"""What a fact must satisfy beyond the types of its fields."""

from __future__ import annotations

from typing import Any

import pytest

from pdp.core.lawful import LAST_INSTANT, fault_of_attribute, fault_of_text, faults_of
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Consent,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Revocation,
    RevocationTarget,
    Session,
    Signal,
    Task,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope

ACTIONS, RESOURCES = ActionScope(["rows.read"]), ResourceScope(["database:prod"])


def session(**fields: Any) -> Session:
    """Return a lawful session, or one that differs in the fields given."""
    lawful: dict[str, Any] = {
        "id": "s",
        "identity": "i",
        "task": "t",
        "entitlement": "e",
        "actions": ACTIONS,
        "resources": RESOURCES,
        "not_before": Instant(10),
        "expires_at": Instant(11),
    }
    return Session(**(lawful | fields))


def approval(**fields: Any) -> Approval:
    """Return a lawful approval, or one that differs in the fields given."""
    lawful: dict[str, Any] = {
        "id": "a",
        "requested_by": "r",
        "actions": ACTIONS,
        "resources": RESOURCES,
        "not_before": Instant(10),
        "expires_at": Instant(11),
    }
    return Approval(**(lawful | fields))


def consent(**fields: Any) -> Consent:
    """Return a lawful consent, or one that differs in the fields given."""
    return Consent(**({"by": "approver", "at": Instant(9)} | fields))


def revocation(**fields: Any) -> Revocation:
    """Return a lawful revocation, or one that differs in the fields given."""
    lawful: dict[str, Any] = {
        "id": "r",
        "target": RevocationTarget.IDENTITY,
        "target_id": "i/**",
        "effective_at": Instant(10),
        "reason": "key leaked\nsee CHG-1",
    }
    return Revocation(**(lawful | fields))


@pytest.mark.parametrize(
    "fact",
    [
        Identity(id="ci/**", kind=IdentityKind.CI_JOB),
        Entitlement(id="e", identity=IdentityScope(["**"]), actions=ACTIONS, resources=RESOURCES),
        approval(),
        approval(kind=ApprovalKind.BREAK_GLASS, review_due=Instant(12)),
        approval(consents=(consent(), consent(by="other", groups=("dba",))), justification="an index\nis corrupt"),
        approval(state=ApprovalState.APPROVED, approved_by="approver", consents=(consent(),)),
        Task(id="t", parent="other"),
        session(max_uses=1, constraints={"network": ["prod"]}),
        revocation(),
        Signal(id="x", about="i", name="risk", value={"level": 3}, expires_at=Instant(11)),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_a_lawful_fact_has_no_fault(fact: AnyFact) -> None:
    """Every kind has a lawful form."""
    assert faults_of(fact) == []


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (Task(id=""), ("id", "must not be empty")),
        (Task(id="a\x00b"), ("id", "must not have control characters")),
        (Task(id="é" * 1025), ("id", "must have at most 2048 bytes, has 2050")),
        (Task(id="\ud800"), ("id", "must be valid Unicode")),
        (Task(id="t", parent="t"), ("parent", "task `t` must not be its own parent")),
        (
            Identity(id="a/b*", kind=IdentityKind.HUMAN),
            ("id", "pattern `a/b*`: `*` must stand alone as a segment"),
        ),
        (Identity(id="i", kind=IdentityKind.HUMAN, labels={"": "x"}), ("labels", "a name must not be empty")),
        (
            Identity(id="i", kind=IdentityKind.HUMAN, credential_max_age=Duration(0)),
            ("credential_max_age", "must be longer"),
        ),
        (session(identity="i/**"), ("identity", "must name one identity, not a pattern")),
        (session(actions=ActionScope([])), ("actions", "must have at least one pattern")),
        (session(parent="s"), ("parent", "session `s` must not be its own parent")),
        (session(expires_at=Instant(10)), ("expires_at", "must be after `not_before`")),
        (session(not_before=Instant(-1)), ("not_before", "must lie in the years 1970 to 9999")),
        (session(expires_at=Instant(LAST_INSTANT + 1)), ("expires_at", "must lie in the years 1970 to 9999")),
        (session(max_uses=0), ("max_uses", "must be between 1 and")),
        (session(constraints={"a": []}), ("constraints", "`a` must list at least one value")),
        (session(constraints={"a": [float("nan")]}), ("constraints", "`a` must be a finite number")),
        (approval(requested_by=""), ("requested_by", "must not be empty")),
        (approval(state=ApprovalState.APPROVED), ("approved_by", "must say who approved")),
        (
            approval(state=ApprovalState.APPROVED, approved_by="other", consents=(consent(),)),
            ("approved_by", "must be one of those who consented"),
        ),
        (approval(consents=(consent(by=""),)), ("consents", "`by` must not be empty")),
        (approval(consents=(consent(at=Instant(-1)),)), ("consents", "`at` must lie in the years 1970 to 9999")),
        (approval(consents=(consent(groups=("dba", "")),)), ("consents", "a group must not be empty")),
        (approval(consents=(consent(), consent())), ("consents", "must have each person once, has `approver` twice")),
        (approval(justification="\x1b"), ("justification", "must not have control characters")),
        (approval(kind=ApprovalKind.BREAK_GLASS), ("review_due", "must say until when the emergency is reviewed")),
        (revocation(reason=""), ("reason", "must not be empty")),
        (revocation(target_id="i/*x"), ("target_id", "pattern `i/*x`: `*` must stand alone")),
        (revocation(expires_at=Instant(10)), ("expires_at", "must be after `effective_at`")),
        (Signal(id="x", about="i", name="n", value=1 << 64, expires_at=Instant(1)), ("value", "must fit in 64 bits")),
    ],
)
def test_an_unlawful_field_is_one_fault(fact: AnyFact, expected: tuple[str, str]) -> None:
    """The fault names the field and what it must be."""
    [(field, message)] = faults_of(fact)
    assert (field, message[: len(expected[1])]) == expected


def test_all_faults_are_found_at_once() -> None:
    """One fault for each field, and no second one for a field that is at fault already."""
    found = faults_of(session(id="", parent="", not_before=Instant(-5), expires_at=Instant(-6), max_uses=0))
    assert [field for field, _ in found] == ["id", "not_before", "expires_at", "max_uses"]


def test_only_identities_are_revoked_by_pattern() -> None:
    """Of what others name a `*` is a character; of our own facts it would be a pattern that revokes nothing."""
    assert faults_of(revocation(target=RevocationTarget.CREDENTIAL, target_id="a*")) == []
    [(field, _)] = faults_of(revocation(target=RevocationTarget.SESSION, target_id="a*"))
    assert field == "target_id"


@pytest.mark.parametrize("value", [None, True, 3, -1.5, "a\nb", [1, [2]], {"a": {"b": None}}])
def test_a_json_value_is_an_attribute(value: Attribute) -> None:
    """Whatever JSON can hold exactly."""
    assert fault_of_attribute(value) == ""


def test_a_value_too_deep_is_no_attribute() -> None:
    """Depth is bounded, for every reader of it recurses."""
    value: Attribute = []
    for _ in range(40):
        value = [value]
    assert fault_of_attribute(value) == "must not be nested deeper than 32 levels"


def test_prose_may_have_lines_but_no_control_characters() -> None:
    """A reason is for people, an identifier is not."""
    assert (fault_of_text("a\nb", prose=True), fault_of_text("a\nb"), fault_of_text("a\x1bb", prose=True)) == (
        "",
        "must not have control characters",
        "must not have control characters",
    )
