"""Who administers: by token, else by certificate, else by the file mode of a socket; never by accident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from pdp.core.model import Instant
from pdp.core.scope import IdentityScope
from pdp.doors.errors import UnauthenticatedError
from pdp.doors.principals import Principals
from pdp.governance.roles import Principal, Role
from pdp.governance.tokens import TOKEN_PREFIX, hash_of, is_hash, new_token
from pdp.settings import HashedToken, PrincipalSettings

NOW = Instant(1_000)
APPROVER, OPERATOR = frozenset({Role.APPROVER}), frozenset({Role.OPERATOR})
CONFIGURED = {
    "change-manager": PrincipalSettings(
        roles=APPROVER,
        groups=frozenset({"change-board"}),
        certificates=["spiffe://shop.example/people/change-manager", "dns:change.shop.example"],
        tokens=[hash_of("secret"), HashedToken(hash=hash_of("short-lived"), expires_at=NOW)],
    ),
    "pipelines": PrincipalSettings(roles=OPERATOR, certificates=["spiffe://shop.example/ci/**"]),
    "releases": PrincipalSettings(roles=APPROVER, certificates=["spiffe://shop.example/ci/release/*"]),
    "security": PrincipalSettings(roles=OPERATOR, certificates=["cn:security"]),
}


def who(
    *authorization: str | bytes,
    certificate: Mapping[str, Sequence[bytes]] | None = None,
    unix: bool = False,
    now: Instant = NOW,
    configured: Mapping[str, PrincipalSettings] = CONFIGURED,
) -> Principal | None:
    """Return who a caller is that sends this and shows that; None for a stranger."""
    principals = Principals(configured, unix=unix, clock=lambda: now)
    try:
        return principals.of(lambda: certificate or {}, [("authorization", value) for value in authorization], now)
    except UnauthenticatedError:
        return None


def name(principal: Principal | None) -> str:
    """Return a principal's name; empty for a stranger."""
    return "" if principal is None else principal.name


def test_a_token_is_that_of_its_principal() -> None:
    """With its roles and groups."""
    expected = Principal(name="change-manager", roles=APPROVER, groups=frozenset({"change-board"}))
    assert who("Bearer secret") == expected
    assert name(who("bearer secret")) == "change-manager"


@pytest.mark.parametrize(
    "sent",
    [["Bearer wrong"], ["secret"], ["Basic secret"], ["Bearer "], [""], ["Bearer secret", "Bearer secret"], [b"\xff"]],
    ids=["unknown", "no scheme", "another scheme", "no token", "nothing", "two", "bytes"],
)
def test_a_token_that_is_not_accepted_falls_back_to_nobody(sent: list[str | bytes]) -> None:
    """Neither to the certificate nor to `local`: who means to be somebody must not become somebody else."""
    uri = {"peer_uri": [b"spiffe://shop.example/people/change-manager"]}
    assert (who(*sent, certificate=uri), who(*sent, unix=True)) == (None, None)


def test_a_token_ends_when_it_expires() -> None:
    """At that instant, as all windows do."""
    assert name(who("Bearer short-lived", now=Instant(NOW - 1))) == "change-manager"
    assert who("Bearer short-lived", now=NOW) is None


def test_a_token_comes_before_the_certificate() -> None:
    """It says who acts, the certificate only from where."""
    assert name(who("Bearer secret", certificate={"x509_common_name": [b"security"]})) == "change-manager"


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ({"peer_uri": [b"spiffe://shop.example/people/change-manager"]}, "change-manager"),
        ({"peer_dns": [b"other.example", b"change.shop.example"]}, "change-manager"),
        ({"x509_common_name": [b"security"]}, "security"),
        ({"peer_uri": [b"spiffe://shop.example/ci/build/7"]}, "spiffe://shop.example/ci/build/7"),
        ({"peer_uri": [b"spiffe://shop.example/unknown"]}, ""),
        ({"peer_uri": [b"security"]}, ""),
        ({"peer_uri": [b"spiffe://shop.example/ci/**"]}, ""),
        ({"peer_uri": [b"spiffe://shop.example/ci/a", b"spiffe://shop.example/ci/b"]}, ""),
        ({"peer_dns": [b"change.shop.example"], "x509_common_name": [b"security"]}, ""),
        ({"peer_dns": [b"\xff"]}, ""),
        ({}, ""),
    ],
    ids=[
        "uri",
        "dns",
        "cn",
        "family",
        "unknown",
        "other field",
        "pattern",
        "two uris",
        "two principals",
        "bytes",
        "none",
    ],
)
def test_a_certificate_is_that_of_its_principal(certificate: Mapping[str, Sequence[bytes]], expected: str) -> None:
    """A family's members keep their own names; what names nobody, or two, is nobody."""
    assert name(who(certificate=certificate)) == expected


def test_the_most_specific_family_applies() -> None:
    """As with families of identities."""
    found = who(certificate={"peer_uri": [b"spiffe://shop.example/ci/release/7"]})
    assert found == Principal(name="spiffe://shop.example/ci/release/7", roles=APPROVER)


def test_a_socket_without_configuration_neither_approves_nor_reviews() -> None:
    """All who reach it are one, and consent needs somebody else."""
    found = who(unix=True, configured={})
    assert found is not None
    assert (found.name, found.roles) == ("local", frozenset(Role) - {Role.APPROVER, Role.REVIEWER})
    assert found.may_ask_for("spiffe://shop.example/anything")


def test_local_is_what_it_is_configured_to_be() -> None:
    """Also nothing at all."""
    found = who(unix=True, configured={"local": PrincipalSettings()})
    assert found == Principal(name="local", roles=frozenset(), identities=IdentityScope([]))


def test_nobody_is_local_on_a_port() -> None:
    """Whoever runs on the machine reaches it."""
    assert who(unix=False, configured={"local": PrincipalSettings(roles=OPERATOR)}) is None


def test_a_call_carries_its_principal_or_why_there_is_none() -> None:
    """So that the refusal can be recorded where all checks are."""
    principals = Principals(CONFIGURED, unix=False, clock=lambda: NOW)
    known = principals.call("Revoke", 1.0, "t", dict, [("authorization", "Bearer secret")])
    stranger = principals.call("Revoke", None, "", dict, [])
    assert (name(known.principal), known.stranger, known.deadline, known.traceparent) == (
        "change-manager",
        "",
        1.0,
        "t",
    )
    assert stranger.principal is None
    assert "no principal is known by it" in stranger.stranger


def test_tokens_differ_and_are_kept_as_hashes() -> None:
    """256 random bits each."""
    one, other = new_token(), new_token()
    assert one != other
    assert one.startswith(TOKEN_PREFIX)
    assert is_hash(hash_of(one))
    assert not is_hash(one)


@pytest.mark.parametrize("uri", [b"cn:security", b"dns:change.shop.example"])
def test_a_uri_is_no_other_name(uri: bytes) -> None:
    """Whatever its scheme: who may choose a URI has not got that common name or DNS name."""
    assert who(certificate={"peer_uri": [uri]}) is None
