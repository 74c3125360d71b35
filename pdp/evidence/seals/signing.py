"""The key that signs the seals of one journal, and what checks them.

Rule 1: the key is made once, with the journal. One that is missing where there are seals is not made anew: seals of two
keys would say of neither that it is the right one, and that is what a forger would want.
Rule 2: the public part is published last, so where it stands everything else that a signed journal has does, too.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pdp.evidence.journal.disk import replace_file
from pdp.evidence.trouble import SigningKeyError

KEY = "signing.key"
"""In the journal's directory: the private key, PKCS #8 in PEM."""
PUBLIC_KEY = "signing.pub"
"""Beside it: the public key, SubjectPublicKeyInfo in PEM. Copy it to whoever checks the journal."""

_OF_OTHERS = 0o077


class PublicKey:
    """Checks signatures."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        """Take the key."""
        self._key = key
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.fingerprint = hashlib.sha256(der).hexdigest()
        """SHA-256 of the key in DER: `openssl pkey -pubin -in signing.pub -outform DER | sha256sum`."""

    def pem(self) -> bytes:
        """Return the key as it is published."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def accepts(self, signature: bytes, data: bytes) -> bool:
        """Return whether the key's owner signed these bytes."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """Signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Take the key."""
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        return self._key.sign(data)


def load_key(directory: Path) -> SigningKey | None:
    """Return the journal's key, or None if it has none.

    Raises SigningKeyError if the file is no such key, may be read by others or is not that of `signing.pub`.
    """
    path = directory / KEY
    try:
        with path.open("rb") as file:
            mode, pem = os.fstat(file.fileno()).st_mode, file.read()
    except FileNotFoundError:
        return None
    if mode & _OF_OTHERS:
        message = f"`{path}` may be read by others: its mode must be 0600"
        raise SigningKeyError(message)
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        message = f"`{path}` is not an Ed25519 key: put it back from a copy"
        raise SigningKeyError(message)
    key, published = SigningKey(private), load_public_key(directory / PUBLIC_KEY)
    if published is not None and published.fingerprint != key.public.fingerprint:
        message = f"`{PUBLIC_KEY}` is not the public part of `{KEY}`: put back the one that made the journal's seals"
        raise SigningKeyError(message)
    return key


def make_key(directory: Path) -> SigningKey:
    """Make the journal's key, for its owner only; may raise OSError."""
    key = Ed25519PrivateKey.generate()
    replace_file(directory / KEY, [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())])
    return SigningKey(key)


def publish_key(directory: Path, key: PublicKey) -> None:
    """Write the public part, unless it is there; may raise OSError."""
    path = directory / PUBLIC_KEY
    if not path.exists():
        replace_file(path, [key.pem()])


def load_public_key(path: Path) -> PublicKey | None:
    """Return a public key in PEM, or None if there is no such file; raise SigningKeyError if it is none."""
    try:
        public = load_pem_public_key(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        message = f"`{path}` is not the public part of an Ed25519 key"
        raise SigningKeyError(message)
    return PublicKey(public)
