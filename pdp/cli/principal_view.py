"""Who administers, and the configuration that makes them known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from pdp.cli.decision_view import rows

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sessionpdp.v1.governance_pb2 import GetPrincipalResponse


def principal_view(principal: GetPrincipalResponse) -> RenderableType:
    """Return who one is, and what one may do."""
    return rows(_principal(principal))


def _principal(principal: GetPrincipalResponse) -> Iterator[tuple[str, RenderableType]]:
    yield "name", Text(principal.name)
    yield "roles", Text(", ".join(principal.roles) or "none, so nothing is permitted")
    if principal.groups:
        yield "groups", Text(", ".join(principal.groups))
    yield "may ask for", Text("\n".join(principal.identities) or "itself")
    yield "may call", Text(", ".join(principal.methods) or "nothing")


def token_json(name: str, roles: Sequence[str], hashed: str, end: str) -> dict[str, object]:
    """Return what a configuration takes, without the token."""
    known = {"roles": list(roles), "tokens": [{"hash": hashed, "expires_at": end} if end else hashed]}
    return {"hash": hashed, "expires_at": end or None, "administration": {"principals": {name: known}}}


def token_text(name: str, roles: Sequence[str], hashed: str, end: str) -> str:
    """Return the same as lines of a configuration file."""
    # JSON is YAML, so a name that is quoted as JSON is read as it is, whatever is in it.
    lines = ["administration:", "  principals:", f"    {json.dumps(name)}:"]
    if roles:
        lines.append(f"      roles: [{', '.join(roles)}]")
    token = [f'- hash: "{hashed}"', f'  expires_at: "{end}"'] if end else [f'- "{hashed}"']
    return "\n".join([*lines, "      tokens:", *(f"        {line}" for line in token)]) + "\n"
