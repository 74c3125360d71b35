"""Bearer tokens of principals: who holds one is told by its hash, and nothing here or in a configuration keeps it.

Rule 1: a token has 256 random bits, so its hash needs neither salt nor stretching, and looking it up tells nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets

TOKEN_PREFIX = "pdpadm_"  # noqa: S105  # no secret: it lets scanners of repositories find leaked tokens
_RANDOM_BYTES = 32
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def new_token() -> str:
    """Return a token nobody has had before; shown once, to who will hold it."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def hash_of(token: str) -> str:
    """Return what a configuration keeps of a token: `sha256:` and 64 lower-case hexadecimal digits."""
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def is_hash(text: str) -> bool:
    """Whether a text has the form of `hash_of`."""
    return _HASH.fullmatch(text) is not None
