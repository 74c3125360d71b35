"""Who the caller is, by what its certificate says."""

from __future__ import annotations

import pytest

from pdp.doors.callers import Callers
from pdp.doors.errors import UnauthenticatedError

RULES = {"spiffe://x/gate": ["worker", "jobs/**"], "spiffe://x/**": ["shared"]}


def caller(*uris: bytes, required: bool = True) -> tuple[str, tuple[str, ...]]:
    """Return the caller behind these URIs, and whom it may ask about."""
    found = Callers(RULES, required=required).of(lambda: {"peer_uri": uris, "x509_common_name": [b"somebody"]})
    return ("", ()) if found is None else (found.id, found.may_ask.patterns)


def test_a_caller_may_ask_about_itself() -> None:
    """And nobody else, unless it is configured."""
    assert caller(b"urn:other") == ("urn:other", ("urn:other",))


def test_what_is_configured_is_added_up() -> None:
    """Over every pattern that covers the caller."""
    assert caller(b"spiffe://x/gate") == ("spiffe://x/gate", ("spiffe://x/gate", "worker", "jobs/**", "shared"))


def test_where_the_transport_admits_callers_nobody_claims_an_identity() -> None:
    """Not even if a certificate were there."""
    assert caller(b"spiffe://x/gate", required=False) == ("", ())


@pytest.mark.parametrize(
    "uris",
    [(), (b"a", b"b"), (b"",), (b"spiffe://x/*",), (b"spiffe://x/\xff",), (b"spiffe://x/\n",), (b"x" * 3000,)],
    ids=["none", "two", "empty", "pattern", "not UTF-8", "control character", "too long"],
)
def test_anything_but_one_identity_is_not_accepted(uris: tuple[bytes, ...]) -> None:
    """Two names that differ must never become the same."""
    with pytest.raises(UnauthenticatedError, match="exactly one URI"):
        caller(*uris)
