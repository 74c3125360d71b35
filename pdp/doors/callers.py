"""Who the caller is, and which subjects it may ask about.

Rule 1: with mTLS the caller is the one URI of its certificate's subject alternative names (a SPIFFE ID); none, or
several, is no accepted identity.
Rule 2: a caller may ask about itself, and about what the configuration adds; nothing else.
Rule 3: on a Unix socket or on loopback the socket admits the caller, and no identity is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pdp.core.lawful import fault_of_text
from pdp.core.model import Caller
from pdp.core.scope import IdentityScope, is_pattern
from pdp.doors.call import Call, Metadata, Peer
from pdp.doors.errors import UnauthenticatedError

_URI_SANS = "peer_uri"


class Callers:
    """Turns what the transport knows of a peer into a caller."""

    def __init__(self, may_ask: Mapping[str, Sequence[str]], *, required: bool) -> None:
        """`may_ask`: patterns of subjects by pattern of caller; `required`: a caller must show a certificate."""
        self._rules = [(IdentityScope([caller]), tuple(subjects)) for caller, subjects in may_ask.items()]
        self._required = required
        self._known: dict[str, Caller] = {}

    def call(self, method: str, deadline: float | None, traceparent: str, peer: Peer, _: Metadata) -> Call:
        """Return the call of whoever this is; see `grpc_door.Admits`."""
        return Call(method, self.of(peer), deadline, traceparent)

    def of(self, peer: Peer) -> Caller | None:
        """Return the caller behind a connection with such properties; raise UnauthenticatedError."""
        if not self._required:
            return None
        uris = [_identity(uri) for uri in peer().get(_URI_SANS, ())]
        if len(uris) != 1 or not uris[0]:
            message = "the client certificate must have exactly one URI among its subject alternative names"
            raise UnauthenticatedError(message)
        return self.named(uris[0])

    def named(self, id_: str) -> Caller:
        """Return the caller of an accepted identity."""
        caller = self._known.get(id_)
        if caller is None:
            added = [subject for rule, subjects in self._rules if rule.covers(id_) for subject in subjects]
            caller = Caller(id_, IdentityScope(dict.fromkeys([id_, *added])))
            if len(self._known) < _MOST_KNOWN:
                self._known[id_] = caller
        return caller


def _identity(uri: bytes) -> str:
    """Return the identity that a URI names; nothing if it can be none, rather than another one."""
    try:
        text = uri.decode()
    except UnicodeDecodeError:
        return ""
    return "" if fault_of_text(text) or is_pattern(text) else text


_MOST_KNOWN = 10_000
"""Callers kept compiled; further ones are compiled at each call."""
