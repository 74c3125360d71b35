"""Over mutual TLS the caller is the URI of its certificate, and may ask about itself and what is configured."""

from __future__ import annotations

from typing import Self

import grpc
import pytest
from msgspec.structs import replace
from sessionpdp.v1 import decision_pb2 as pb

from pdp.core.model import Identity, IdentityKind
from pdp.settings import Listener, Settings, Tls
from tests.certificates import Authority
from tests.integration.conftest import Serve
from tests.integration.serving import PATIENCE_S, Channels, Running, check, codes_of, refusal, session, world
from tests.ports import free_port

WORKLOAD = "spiffe://example.org/worker"
GATEWAY = "spiffe://example.org/gateway"
NOT_PERMITTED = "CALLER_NOT_PERMITTED"


@pytest.fixture
def authority() -> Authority:
    """Return the authority that callers and the server trust."""
    return Authority()


@pytest.fixture
async def secured(serve: Serve, authority: Authority, settings: Settings) -> Running:
    """Return a sidecar that listens on loopback with mutual TLS."""
    certificate, key, client_ca = map(str, authority.server_files(settings.database.parent))
    listener = Listener(
        address=f"localhost:{free_port()}",
        tls=Tls(certificate=certificate, key=key, client_ca=client_ca),
        callers={GATEWAY: ["worker", "spiffe://example.org/jobs/**"]},
    )
    server = await serve(changes={"decisions": listener})
    await server.apply(Identity(id=WORKLOAD, kind=IdentityKind.WORKLOAD, owner="team-a"))
    return server


class As(Channels):
    """Connections of a caller that shows these credentials."""

    def __init__(self, server: Running, credentials: grpc.ChannelCredentials) -> None:
        settings = server.sidecar.settings
        super().__init__(settings.decision_address(), settings.administration_address(), credentials)

    async def about(self, subject: str) -> str:
        """Return the code of an answer about a subject."""
        return await self.check(subject=pb.Subject(id=subject))

    async def __aenter__(self) -> Self:
        """Return the connections."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self.close()


async def test_a_caller_asks_about_itself_and_nobody_else(secured: Running, authority: Authority) -> None:
    """A deny is an answer, not an error."""
    async with As(secured, authority.client(WORKLOAD)) as caller:
        assert await caller.about(WORKLOAD) == "SESSION_MISMATCH"
        assert await caller.about("worker") == NOT_PERMITTED


async def test_a_caller_asks_about_the_subjects_configured_for_it(secured: Running, authority: Authority) -> None:
    """And still not about others."""
    async with As(secured, authority.client(GATEWAY)) as caller:
        assert await caller.about("worker") == "GRANTED"
        assert await caller.about(GATEWAY) == "IDENTITY_UNKNOWN"
        assert await caller.about("spiffe://example.org/jobs/7") == "IDENTITY_UNKNOWN"
        assert await caller.about(WORKLOAD) == NOT_PERMITTED


async def test_every_method_asks_who_calls(secured: Running, authority: Authority) -> None:
    """Batch, stream, explain, watch and permissions, too."""
    async with As(secured, authority.client(WORKLOAD)) as caller:
        decisions, asked = caller.decisions, check()
        batch = await decisions.CheckBatch(pb.CheckBatchRequest(checks=[asked]), timeout=PATIENCE_S)
        stream = decisions.CheckStream(timeout=PATIENCE_S)
        await stream.write(pb.CheckStreamRequest(checks=[asked]))
        streamed = await stream.read()
        watch = decisions.Watch(pb.WatchRequest(check=asked), timeout=PATIENCE_S)
        watched = await watch.read()
        explained = await decisions.Explain(pb.ExplainRequest(check=asked), timeout=PATIENCE_S)
        answers = [*batch.decisions, *streamed.decisions, watched.decision, explained.decision]
        assert codes_of(answers) == [NOT_PERMITTED] * 4
        request = pb.ListPermissionsRequest(subject=asked.subject, session_id="s-1")
        permissions = await decisions.ListPermissions(request, timeout=PATIENCE_S)
        assert [list(permissions.permissions), bool(permissions.reasons)] == [[], True]
        stream.cancel()
        watch.cancel()


@pytest.mark.parametrize("uris", [(), (WORKLOAD, GATEWAY), ("spiffe://example.org/*",)], ids=["none", "two", "pattern"])
async def test_a_certificate_without_exactly_one_identity_is_not_accepted(
    secured: Running, authority: Authority, uris: tuple[str, ...]
) -> None:
    """No decision is made."""
    async with As(secured, authority.client(*uris)) as caller:
        error = await refusal(caller.decisions.Check(check(), timeout=PATIENCE_S))
        assert (error.code, error.reason, error.domain) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "CALLER_UNAUTHENTICATED",
            "sessionpdp",
        )
        stream = caller.decisions.CheckStream(timeout=PATIENCE_S)
        assert (await refusal(stream.read())).code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_certificate_of_another_authority_fails_the_handshake(secured: Running, authority: Authority) -> None:
    """The server is never asked."""
    async with As(secured, Authority("another").client(WORKLOAD, trusted=authority)) as caller:
        error = await refusal(caller.decisions.Check(check(), timeout=PATIENCE_S))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "")


async def test_a_caller_without_a_certificate_fails_the_handshake(secured: Running, authority: Authority) -> None:
    """So does one in plain text."""
    for credentials in (grpc.ssl_channel_credentials(authority.certificate), None):
        settings = secured.sidecar.settings
        caller = Channels(settings.decision_address(), settings.administration_address(), credentials)
        error = await refusal(caller.decisions.Check(check(), timeout=PATIENCE_S))
        assert error.code is grpc.StatusCode.UNAVAILABLE
        await caller.close()


async def test_the_caller_is_on_record(secured: Running, authority: Authority) -> None:
    """And administration over mutual TLS records it as the actor."""
    async with As(secured, authority.client(GATEWAY)) as caller:
        await secured.apply(*world(), replace(session("s-5"), max_uses=1))
        assert await caller.check(session_id="s-5") == "GRANTED"
    written = "".join(path.read_text() for path in secured.sidecar.settings.journal_dir.glob("*.jsonl"))
    assert GATEWAY in written
