"""Entitlements: granted by one, certified by another, narrowed, taken away."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import (
    AnyFact,
    Drop,
    Duration,
    Entitlement,
    FactKind,
    IdentityState,
    Instant,
)
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.governance.commands import CertifyEntitlement, GrantEntitlement, NarrowEntitlement, RemoveEntitlement
from pdp.governance.refusal import Rule
from pdp.governance.roles import Principal
from pdp.governance.rules import entitlements
from pdp.governance.view import Plan
from tests.unit.rules_story import (
    AGENT,
    FAMILY,
    HOUR,
    NOW,
    OPERATOR,
    OWNER,
    READ,
    READER,
    REVIEWER,
    ROWS,
    reasons,
    rules,
    view_of,
    written,
)

LATER = Instant(NOW + HOUR)


def granting(identity: str, id_: str = "new") -> GrantEntitlement:
    """Return a command to grant reading to an identity."""
    return GrantEntitlement(
        id=id_, identity=IdentityScope([identity]), actions=READ, resources=ROWS, max_session_ttl=HOUR
    )


def test_what_is_granted_is_not_certified() -> None:
    """Eligibility begins lapsed, and nobody has reviewed it; who granted it is on record."""
    assert written(entitlements.grant(granting("agent"), view_of(OPERATOR))) == [
        Entitlement(
            id="new",
            identity=IdentityScope(["agent"]),
            actions=READ,
            resources=ROWS,
            max_session_ttl=HOUR,
            granted_by="platform-operator",
        )
    ]


@pytest.mark.parametrize("identity", ["ci/7", "ci/**", "ci/release/*", "*"])
def test_an_entitlement_is_of_whoever_a_record_stands_for(identity: str) -> None:
    """One of a family, a family, a part of one, or a pattern that covers records."""
    assert len(written(entitlements.grant(granting(identity), view_of(OPERATOR)))) == 1


@pytest.mark.parametrize("identity", ["nobody", "nobody/*"])
def test_nobody_is_eligible_whom_nobody_knows(identity: str) -> None:
    """Register first."""
    assert rules(entitlements.grant(granting(identity), view_of(OPERATOR))) == [Code.IDENTITY_UNKNOWN]


@pytest.mark.parametrize(
    ("identity", "fact"), [("agent", AGENT), ("ci/7", FAMILY), ("ci/**", FAMILY), ("ci/release/*", FAMILY)]
)
def test_nobody_retired_is_eligible(identity: str, fact: AnyFact) -> None:
    """Nor what a retired record stands for."""
    view = view_of(OPERATOR, replace(fact, state=IdentityState.RETIRED))
    assert rules(entitlements.grant(granting(identity), view)) == [Code.IDENTITY_RETIRED]


def test_nothing_is_granted_over_another_entitlement() -> None:
    """That would widen it."""
    assert rules(entitlements.grant(granting("agent", "reader"), view_of(OPERATOR))) == [Rule.ALREADY_EXISTS]


def test_an_entitlement_is_narrowed_where_something_is_said() -> None:
    """The rest stays, the certification with it."""
    command = NarrowEntitlement(entitlement_id="reader", actions=READ, max_session_ttl=HOUR)
    expected = replace(READER, actions=READ, max_session_ttl=HOUR)
    assert written(entitlements.narrow(command, view_of(OPERATOR))) == [expected]


@pytest.mark.parametrize(
    "command",
    [
        NarrowEntitlement(entitlement_id="reader", actions=ActionScope(["rows.read", "schema.alter"])),
        NarrowEntitlement(entitlement_id="reader", resources=ResourceScope(["database:**"])),
        NarrowEntitlement(entitlement_id="reader", max_session_ttl=Duration(HOUR + 1)),
        NarrowEntitlement(entitlement_id="reader", actions=ActionScope(["rows.*"]), max_session_ttl=HOUR),
        NarrowEntitlement(entitlement_id="reader"),
    ],
)
def test_what_widens_or_changes_nothing_does_not_narrow(command: NarrowEntitlement) -> None:
    """Any scope or duration beyond the present one, or none at all."""
    view = view_of(OPERATOR, replace(READER, max_session_ttl=HOUR))
    assert rules(entitlements.narrow(command, view)) == [Rule.NOT_NARROWER]


def test_all_that_widens_is_said_at_once() -> None:
    """One refusal for each part of the scope."""
    command = NarrowEntitlement(
        entitlement_id="reader", actions=ActionScope(["**"]), resources=ResourceScope(["**"]), max_session_ttl=HOUR
    )
    assert rules(entitlements.narrow(command, view_of(OPERATOR))) == [Rule.NOT_NARROWER, Rule.NOT_NARROWER]


def test_a_reviewer_certifies() -> None:
    """Until an instant, by name."""
    outcome = entitlements.certify(CertifyEntitlement(entitlement_id="reader", until=LATER), view_of(REVIEWER))
    assert written(outcome) == [
        replace(READER, certified_by="security", certified_until=LATER, reviewed_at=NOW),
    ]


@pytest.mark.parametrize(
    ("actor", "how"),
    [
        (OPERATOR, "`platform-operator` granted entitlement `reader`"),
        (OWNER, "`head-of-payments` belongs to `payments`, which owns identity `agent`"),
        (Principal(name="payments"), "`payments` owns identity `agent`"),
        (Principal(name="agent"), "`agent` is the identity itself"),
    ],
)
def test_nobody_certifies_what_they_have_a_part_in(actor: Principal, how: str) -> None:
    """Granter, owner, one of the owner's team, the identity."""
    outcome = entitlements.certify(CertifyEntitlement(entitlement_id="reader", until=LATER), view_of(actor))
    assert [(one.rule, one.message) for one in reasons(outcome)] == [(Rule.FOUR_EYES, how)]


@pytest.mark.parametrize("name", ["payments", "build-team", "ci/7"])
def test_of_a_whole_family_no_owner_and_no_member_certifies(name: str) -> None:
    """Whoever answers for any identity that the entitlement is of."""
    wide = replace(READER, identity=IdentityScope(["**"]))
    outcome = entitlements.certify(
        CertifyEntitlement(entitlement_id="reader", until=LATER), view_of(Principal(name=name), wide)
    )
    assert rules(outcome) == [Rule.FOUR_EYES]


def test_whose_name_a_wide_pattern_covers_may_certify_if_it_is_no_identity() -> None:
    """Or nobody could certify what everybody is eligible for."""
    wide = replace(READER, identity=IdentityScope(["**"]))
    command = CertifyEntitlement(entitlement_id="reader", until=LATER)
    assert len(written(entitlements.certify(command, view_of(REVIEWER, wide)))) == 1


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (NOW, [Code.ENTITLEMENT_LAPSED]),
        (Instant(NOW + entitlements.LONGEST_CERTIFICATION), []),
        (Instant(NOW + entitlements.LONGEST_CERTIFICATION + 1), [Code.POLICY_LIMIT]),
    ],
)
def test_a_certification_lies_ahead_but_not_for_ever(until: Instant, expected: list[Code]) -> None:
    """Its window is half-open, and it must be done again some day."""
    outcome = entitlements.certify(CertifyEntitlement(entitlement_id="reader", until=until), view_of(REVIEWER))
    assert ([] if isinstance(outcome, Plan) else rules(outcome)) == expected


def test_an_entitlement_is_taken_away() -> None:
    """It is gone, if it is still as it was."""
    outcome = entitlements.remove(RemoveEntitlement(entitlement_id="reader"), view_of(OPERATOR))
    assert outcome == Plan((Drop(FactKind.ENTITLEMENT, "reader"),), {(FactKind.ENTITLEMENT, "reader"): READER.revision})


def test_an_unknown_entitlement_is_not_found() -> None:
    """By any command."""
    view = view_of(OPERATOR)
    assert rules(entitlements.narrow(NarrowEntitlement(entitlement_id="x"), view)) == [Rule.NOT_FOUND]
    assert rules(entitlements.certify(CertifyEntitlement(entitlement_id="x", until=LATER), view)) == [Rule.NOT_FOUND]
    assert rules(entitlements.remove(RemoveEntitlement(entitlement_id="x"), view)) == [Rule.NOT_FOUND]


def test_of_a_wide_pattern_only_what_matters_is_noted() -> None:
    """A change of any identity there is would else keep it from being granted or certified."""
    crowd = [replace(AGENT, id=f"fleet/{number}", owner="fleet-team", revision=9) for number in range(50)]
    wide = replace(READER, identity=IdentityScope(["**"]))
    grant = GrantEntitlement(id="wide", identity=wide.identity, actions=READ, resources=ROWS)
    certify = CertifyEntitlement(entitlement_id="reader", until=Instant(NOW + HOUR))
    for outcome in (
        entitlements.grant(grant, view_of(OPERATOR, *crowd)),
        entitlements.certify(certify, view_of(REVIEWER, wide, *crowd)),
    ):
        assert isinstance(outcome, Plan)
        assert len(outcome.expected) <= 3
