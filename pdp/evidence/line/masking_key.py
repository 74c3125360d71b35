"""The secret of one journal, by which masked values can be compared, and by nobody else guessed.

Rule 1: equal JSON values have equal digests, at any depth: 1 is 1.0, true is not 1, the order of members says nothing.
Rule 2: the secret is never replaced: digests of before could not be compared with those of after.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pdp.evidence.journal.disk import sync_directory
from pdp.evidence.trouble import MaskingKeyError

MASKING_KEY = "masking.key"
"""The file, in the journal's directory."""

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_SECRET_BYTES = 32
_WRITTEN = re.compile(rf"[0-9a-f]{{{2 * _SECRET_BYTES}}}\n")
_OF_OTHERS = 0o077


class MaskingKey:
    """Makes digests."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Take the secret."""
        self._secret = secret

    @property
    def secret(self) -> bytes:
        """For a process of this very sidecar, and nobody else."""
        return self._secret

    @property
    def fingerprint(self) -> str:
        """What tells this key from others, and nothing about the secret."""
        return hmac.digest(self._secret, b"fingerprint", "sha256")[:8].hex()

    def digest(self, value: object) -> str:
        """Return `hmac-sha256:` and 64 hexadecimal digits; raise TypeError or ValueError for what JSON cannot say."""
        text = _ENCODER.encode(_canonical(value))
        return f"hmac-sha256:{hmac.digest(self._secret, text.encode(), 'sha256').hex()}"


def load_key(directory: Path) -> MaskingKey | None:
    """Return the key of the journal, or None if it has none; raise MaskingKeyError if it is none or open to others."""
    path = directory / MASKING_KEY
    try:
        with path.open(encoding="ascii") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        mode, text = 0, ""
    if mode & _OF_OTHERS:
        message = f"`{path}` may be read by others: its mode must be 0600"
        raise MaskingKeyError(message)
    if not _WRITTEN.fullmatch(text):
        message = f"`{path}` is not a key: put it back from a copy"
        raise MaskingKeyError(message)
    return MaskingKey(bytes.fromhex(text))


def make_key(directory: Path) -> MaskingKey:
    """Make the journal's key, for its owner only; if there is one by now, return that."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = secrets.token_bytes(_SECRET_BYTES)
    descriptor, aside = tempfile.mkstemp(prefix=f"{MASKING_KEY}.", dir=directory)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secret.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, directory / MASKING_KEY)  # unlike a rename this replaces nothing
    finally:
        Path(aside).unlink()
    sync_directory(directory)
    return load_key(directory) or MaskingKey(secret)


def _canonical(value: object) -> object:
    """Return the value with each number in one form, and mappings as JSON has them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    return value
