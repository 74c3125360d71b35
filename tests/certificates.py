"""Certificates for tests of mutual TLS, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PEM = serialization.Encoding.PEM


class Authority:
    """Issues certificates, to servers for `localhost` and to clients by URI."""

    def __init__(self, name: str = "the test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        signed = _builder(self._name, self._name, self._key.public_key()).add_extension(constraints, critical=True)
        self.certificate = signed.sign(self._key, hashes.SHA256()).public_bytes(_PEM)

    def issue(self, names: Sequence[x509.GeneralName]) -> tuple[bytes, bytes]:
        """Return a key and its certificate for these subject alternative names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
        builder = _builder(subject, self._name, key.public_key())
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)
        secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return secret, certificate

    def client(self, *uris: str, trusted: Authority | None = None) -> grpc.ChannelCredentials:
        """Return what a client shows that is known by these URIs; it trusts servers of this or another authority."""
        key, certificate = self.issue([x509.UniformResourceIdentifier(uri) for uri in uris])
        return grpc.ssl_channel_credentials((trusted or self).certificate, key, certificate)

    def server_files(self, directory: Path) -> tuple[Path, Path, Path]:
        """Write and return a server's certificate, its key, and the authority of its clients."""
        key, certificate = self.issue([x509.DNSName("localhost")])
        paths = directory / "server.pem", directory / "server.key", directory / "clients.pem"
        for path, content in zip(paths, (certificate, key, self.certificate), strict=True):
            path.write_bytes(content)
        return paths


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    since, until = now - timedelta(minutes=1), now + timedelta(days=1)
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), since, until)
