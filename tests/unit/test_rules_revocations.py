"""Revocations: made by one person, lifted by another."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import AnyFact, Drop, FactKind, Instant, Revocation, RevocationTarget
from pdp.governance.commands import LiftRevocation, Revoke
from pdp.governance.refusal import Rule
from pdp.governance.roles import Principal
from pdp.governance.rules import revocations
from pdp.governance.view import Plan
from tests.unit.rules_story import (
    ASKED,
    NOW,
    OPENED,
    OPERATOR,
    REVIEWER,
    reasons,
    revoked,
    rules,
    view_of,
    written,
)

REVOKE = Revoke(id="r", target=RevocationTarget.SESSION, target_id="not-yet-known", source="INC-1")
SOON = Instant(NOW + 1)


def test_a_revocation_overrides_from_now_on() -> None:
    """Also what is not known yet; who made it, and why, is in it."""
    assert written(revocations.revoke(REVOKE, view_of(REVIEWER))) == [
        Revocation(
            id="r",
            target=RevocationTarget.SESSION,
            target_id="not-yet-known",
            effective_at=NOW,
            reason="for the test",
            source="INC-1",
            revoked_by="security",
        )
    ]


def test_a_revocation_is_scheduled() -> None:
    """With an end of its own."""
    [fact] = written(
        revocations.revoke(replace(REVOKE, effective_at=SOON, expires_at=Instant(NOW + 2)), view_of(REVIEWER))
    )
    assert isinstance(fact, Revocation)
    assert (fact.effective_at, fact.expires_at) == (SOON, NOW + 2)


def test_a_revocation_is_not_written_over_another() -> None:
    """That would lift it."""
    view = view_of(REVIEWER, revoked(RevocationTarget.OWNER, "payments"))
    assert rules(revocations.revoke(replace(REVOKE, id="r-payments"), view)) == [Rule.ALREADY_EXISTS]


def test_a_revocation_that_would_be_over_is_none() -> None:
    """Its window is half-open."""
    past = replace(REVOKE, effective_at=Instant(0), expires_at=NOW)
    assert rules(revocations.revoke(past, view_of(REVIEWER))) == [Rule.WRONG_STATE]


def test_somebody_else_lifts_a_revocation() -> None:
    """It is gone, if it is still as it was."""
    outcome = revocations.lift(
        LiftRevocation(revocation_id="r-s-1"), view_of(OPERATOR, revoked(RevocationTarget.CREDENTIAL, "s-1"))
    )
    assert outcome == Plan((Drop(FactKind.REVOCATION, "r-s-1"),), {(FactKind.REVOCATION, "r-s-1"): 7})


@pytest.mark.parametrize(
    ("target", "id_", "actor"),
    [
        (RevocationTarget.CREDENTIAL, "c", "security"),
        (RevocationTarget.IDENTITY, "agent", "agent"),
        (RevocationTarget.IDENTITY, "agent", "payments"),
        (RevocationTarget.IDENTITY, "ci/**", "ci/7"),
        (RevocationTarget.IDENTITY, "ci/**", "build-team"),
        (RevocationTarget.OWNER, "payments", "payments"),
        (RevocationTarget.ENTITLEMENT, "reader", "platform-operator"),
        (RevocationTarget.TASK, "job", "release-manager"),
        (RevocationTarget.SESSION, "s-1", "release-manager"),
        (RevocationTarget.SESSION, "s-1", "payments"),
        (RevocationTarget.APPROVAL, "consent", "release-manager"),
    ],
)
def test_nobody_lifts_what_they_made_or_would_gain_by(target: RevocationTarget, id_: str, actor: str) -> None:
    """Who revoked, and who has a part in what is revoked."""
    view = view_of(Principal(name=actor), OPENED, ASKED, revoked(target, id_))
    outcome = revocations.lift(LiftRevocation(revocation_id=f"r-{id_}"), view)
    assert [(one.rule, one.about) for one in reasons(outcome)] == [(Rule.FOUR_EYES, f"revocation:r-{id_}")]


@pytest.mark.parametrize(
    "fact",
    [
        revoked(RevocationTarget.CREDENTIAL, "x", by=""),
        revoked(RevocationTarget.TASK, "x"),
        revoked(RevocationTarget.IDENTITY, "x", until=SOON),
    ],
)
def test_a_revocation_is_lifted_whatever_is_known_of_its_target_and_maker(fact: AnyFact) -> None:
    """Imported ones do not say who made them, and their target may not be known."""
    outcome = revocations.lift(LiftRevocation(revocation_id="r-x"), view_of(OPERATOR, fact))
    assert isinstance(outcome, Plan)


def test_a_revocation_that_is_over_is_not_lifted() -> None:
    """There is nothing to lift."""
    view = view_of(OPERATOR, revoked(RevocationTarget.CREDENTIAL, "c", until=NOW))
    assert rules(revocations.lift(LiftRevocation(revocation_id="r-c"), view)) == [Rule.WRONG_STATE]


def test_a_revocation_that_is_not_known_is_not_lifted() -> None:
    """The refusal says so."""
    assert rules(revocations.lift(LiftRevocation(revocation_id="x"), view_of(OPERATOR))) == [Rule.NOT_FOUND]
