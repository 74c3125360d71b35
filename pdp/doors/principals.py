"""Who administers: the principal behind an administrative call.

Rule 1: a bearer token decides where one is sent; one that is not accepted is refused, whatever else the caller shows.
Rule 2: else the certificate decides: by its one URI, its DNS names and its common name. What names no principal, or
several, is nobody.
Rule 3: else, on a Unix socket, whoever the file mode lets in is `local`. Anywhere else nobody is.
Rule 4: who is not known may still be answered what needs no role (health, reflection); see `governing` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from pdp.core.lawful import fault_of_text
from pdp.core.model import Instant
from pdp.core.scope import FamilyIndex, IdentityScope, is_pattern
from pdp.doors.call import Call, Metadata, Peer
from pdp.doors.errors import UnauthenticatedError
from pdp.governance.roles import Principal, Role
from pdp.governance.tokens import hash_of
from pdp.settings import PrincipalSettings

LOCAL = "local"
"""The principal of a Unix socket."""
UNCONFIGURED_LOCAL = Principal(
    name=LOCAL,
    roles=frozenset({Role.REQUESTER, Role.OPERATOR, Role.AUDITOR, Role.IMPORTER}),
    identities=IdentityScope(["**"]),
)
"""What `local` may do unless configured: neither approve nor review, for consent needs somebody one can tell from
others, and all who reach the socket are one."""

_NAMES: Sequence[tuple[str, str]] = (("dns:", "peer_dns"), ("cn:", "x509_common_name"))
"""How the names of a certificate are configured, and what gRPC calls them."""
_PREFIXES = tuple(prefix for prefix, _ in _NAMES)
"""What no URI begins with that names a principal: it would be taken for such a name."""

Ends: TypeAlias = Instant | None


class Principals:
    """Turns what the transport knows of a caller into a principal."""

    def __init__(
        self, principals: Mapping[str, PrincipalSettings], *, unix: bool, clock: Callable[[], Instant]
    ) -> None:
        """`principals` by name; `unix`: the listener is a Unix socket; `clock` is decision time, for tokens."""
        known = {name: _principal(name, one) for name, one in principals.items()}
        self._local = known.get(LOCAL, UNCONFIGURED_LOCAL) if unix else None
        self._clock = clock
        self._by_token: dict[str, tuple[Principal, Ends]] = {}
        self._by_name: dict[str, Principal] = {}
        self._families = FamilyIndex()
        for name, one in principals.items():
            self._add(known[name], one)

    def call(self, method: str, deadline: float | None, traceparent: str, peer: Peer, metadata: Metadata) -> Call:
        """Return the call of whoever this is; see `grpc_door.Admits`."""
        try:
            principal = self.of(peer, metadata, self._clock())
        except UnauthenticatedError as error:
            return Call(method, None, deadline, traceparent, stranger=error.message)
        return Call(method, None, deadline, traceparent, principal)

    def of(self, peer: Peer, metadata: Metadata, now: Instant) -> Principal:
        """Return the principal behind a connection with such properties; raise UnauthenticatedError."""
        sent = [value for key, value in metadata if key == "authorization"]
        if sent:
            return self._of_token(sent, now)
        if self._local is not None:
            return self._local
        principals = {found.name: found for found in self._of_certificate(peer())}
        if len(principals) != 1:
            claimed = "several principals claim the client certificate" if principals else "no principal is known by it"
            message = f"neither a token nor a client certificate of a principal: {claimed}"
            raise UnauthenticatedError(message)
        return principals.popitem()[1]

    def _of_token(self, sent: Sequence[str | bytes], now: Instant) -> Principal:
        scheme, _, token = sent[0].partition(" ") if isinstance(sent[0], str) else ("", "", "")
        principal, ends = self._by_token.get(hash_of(token.strip()), (None, None))
        if len(sent) != 1 or scheme.lower() != "bearer" or principal is None:
            message = "the bearer token is not accepted"
            raise UnauthenticatedError(message)
        if ends is not None and now >= ends:
            message = f"the bearer token of `{principal.name}` has expired"
            raise UnauthenticatedError(message)
        return principal

    def _of_certificate(self, properties: Mapping[str, Iterable[bytes]]) -> Iterable[Principal]:
        uris = list(properties.get("peer_uri", ()))
        if len(uris) == 1:  # several are no identity, as in `callers`
            yield from self._of_uri(_text(uris[0]))
        for prefix, property_ in _NAMES:
            for name in properties.get(property_, ()):
                found = self._by_name.get(prefix + _text(name))
                if found is not None:
                    yield found

    def _of_uri(self, uri: str) -> Iterable[Principal]:
        if uri.startswith(_PREFIXES):
            return
        own = self._by_name.get(uri)
        if own is not None:
            yield own
        elif uri:
            for pattern in self._families.covering(uri)[:1]:
                yield replace(self._by_name[pattern], name=uri)

    def _add(self, principal: Principal, configured: PrincipalSettings) -> None:
        for certificate in configured.certificates:
            self._by_name[certificate] = principal
            if is_pattern(certificate):
                self._families.add(certificate)
        for token in configured.tokens:
            hashed, ends = (token, None) if isinstance(token, str) else (token.hash, token.expires_at)
            self._by_token[hashed] = (principal, ends)


def _principal(name: str, configured: PrincipalSettings) -> Principal:
    return Principal(name=name, roles=configured.roles, groups=configured.groups, identities=configured.identities)


def _text(name: bytes) -> str:
    """Return the name a certificate carries; nothing if it can be none, rather than another one."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return ""
    return "" if fault_of_text(text) or is_pattern(text) else text
