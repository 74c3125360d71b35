"""Credentials take effect."""

from __future__ import annotations

import asyncio
from concurrent import futures
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sessionpdp import PDP, AsyncPDP
from sessionpdp.v1 import decision_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.python.tests.conftest import ScriptedServer

CHECK: dict[str, Any] = {"subject": "x", "action": "rows.read", "resource": "database:prod/users"}


@pytest.fixture(scope="module")
def identity() -> tuple[bytes, bytes]:
    """Return the key and the self-signed certificate of `localhost`, for both sides."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret, certificate.public_bytes(pem)


@pytest.fixture
def target(server: ScriptedServer, identity: tuple[bytes, bytes]) -> Iterator[str]:
    """Return the address of a server that wants a certificate."""
    key, certificate = identity
    credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
    secure = grpc.server(futures.ThreadPoolExecutor(4))
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(server, secure)
    port = secure.add_secure_port("localhost:0", credentials)
    secure.start()
    yield f"localhost:{port}"
    secure.stop(0).wait(10)


def test_a_client_with_a_certificate_is_answered(target: str, identity: tuple[bytes, bytes]) -> None:
    """Over mutual TLS, by both clients."""
    key, certificate = identity
    credentials = grpc.ssl_channel_credentials(certificate, key, certificate)

    async def ask() -> str:
        async with AsyncPDP(target, timeout=10, credentials=credentials) as pdp:
            return (await pdp.check(**CHECK)).code

    with PDP(target, timeout=10, credentials=credentials) as pdp:
        assert pdp.check(**CHECK).code == "GRANTED"
    assert asyncio.run(ask()) == "GRANTED"


def test_a_client_without_a_certificate_gets_no_decision(target: str, identity: tuple[bytes, bytes]) -> None:
    """Neither over TLS without one, nor in the clear."""
    for credentials in (grpc.ssl_channel_credentials(identity[1]), None):
        with PDP(target, timeout=10, credentials=credentials) as pdp:
            assert pdp.check(**CHECK).code == "PDP_UNREACHABLE"
