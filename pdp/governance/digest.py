"""What tells one command from another under the same idempotency key.

Rule 1: equal commands have equal digests, in whatever order a message had the members of its maps.
Rule 2: a command is digested as it was sent: before an id is made up for what it creates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from pdp.core.model import Change
from pdp.core.scope import Scope
from pdp.governance.commands import Command
from pdp.state.store import ref_of


def digest_of_command(method: str, command: Command) -> str:
    """Return the digest of a command that is sent by a method, in hex."""
    return _digest(method, command)


def digest_of_changes(method: str, changes: Sequence[Change]) -> str:
    """Return the digest of changes that are sent by a method, in hex."""
    return _digest(method, [(ref_of(change), change) for change in changes])


def _digest(method: str, sent: object) -> str:
    return hashlib.sha256(_ENCODE([method, sent])).hexdigest()


def _patterns(value: object) -> Sequence[str]:
    if isinstance(value, Scope):
        return value.patterns
    message = f"a {type(value).__name__} has no digest"
    raise TypeError(message)


_ENCODE = msgspec.json.Encoder(enc_hook=_patterns, order="deterministic").encode
