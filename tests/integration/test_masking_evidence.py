"""Masked attributes over the real doors: policies see them, evidence does not."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sessionpdp.v1 import decision_pb2 as pb
from structlog.testing import capture_logs

from pdp.cli.main import main
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.journal.scribe_process import ScribeProcess
from pdp.evidence.line.masking import MaskRule
from pdp.evidence.line.masking_key import MASKING_KEY
from pdp.evidence.seals.verifying import Verified, verify
from pdp.evidence.trouble import MaskingKeyError
from pdp.settings import Journal
from tests.integration.conftest import Serve
from tests.integration.serving import Running, check, until

EMAIL, PHONE = "somebody@shop.example", "0170-5550100"
POLICY = """\
policy: known-customers
match: {actions: ["rows.*"], resources: ["database:**"]}
deny:
  - {name: nobody, cel: context.customer_email == "nobody@shop.example"}
  - {name: not a truth, cel: "has(context.strict) && context.customer_email"}
  - {name: no such member, cel: 'has(context.member) && {"a": true}[context.customer_email]'}
"""


def about_customer(email: str = EMAIL, **context: object) -> pb.CheckRequest:
    """Return a request with personal attributes."""
    request = check()
    request.context.update({"customer_email": email, "region": "eu"} | context)
    request.resource.properties.update({"owner": {"phone": PHONE}, "tier": 1})
    return request


def masked(*attributes: str, when: str | None = None) -> dict[str, object]:
    """Return the settings of a journal that masks."""
    return {"journal": Journal(mask=[MaskRule(attributes=list(attributes), when=when)])}


async def decisions_of(server: Running) -> list[dict[str, Any]]:
    """Return the decisions on record, once all are on disk."""
    await until(lambda: server.sidecar.evidence.status().held == 0)
    entries: list[dict[str, Any]] = [entry.record() for entry in read(server.sidecar.settings.journal_dir)]  # type: ignore[misc]
    return [entry for entry in entries if entry["kind"] == "decision"]


async def test_what_is_masked_is_nowhere_on_disk_nor_in_spans_and_log_lines(serve: Serve, home: Path) -> None:
    """Not quoted by a reason either; policies and the caller still have it."""
    (home / "policy.yaml").write_text(POLICY)
    exporter = InMemorySpanExporter()
    changes = masked("context.customer_email", "resource_properties.owner.*")
    server = await serve(changes={**changes, "policies": [str(home)], "decision_log": True}, exporter=exporter)
    with capture_logs() as logs:
        codes = [
            await server.check(about_customer()),
            await server.check(about_customer("nobody@shop.example")),
            await server.check(about_customer(strict=True)),
            await server.check(about_customer(member=True)),
        ]
        records = await decisions_of(server)
        await until(lambda: len([line for line in logs if line["event"] == "decision"]) == len(codes))
    await until(lambda: len([one for one in exporter.get_finished_spans() if one.name.endswith("/Check")]) >= 3)
    assert codes == ["GRANTED", "POLICY_DENIED", "POLICY_ERROR", "CONTEXT_MISSING"]
    assert [record["masked"] for record in records] == [
        ["context.customer_email", "resource_properties.owner.phone"]
    ] * len(codes)
    written = b"".join(path.read_bytes() for path in server.sidecar.settings.journal_dir.iterdir())
    spans = "".join(span.to_json() for span in exporter.get_finished_spans())
    told = written.decode(errors="replace") + spans + repr(logs)
    assert [secret for secret in (EMAIL, "nobody@shop.example", PHONE) if secret in told] == []
    assert isinstance(verify(server.sidecar.settings.journal_dir), Verified)


async def test_a_mask_may_be_for_some_requests_only(serve: Serve) -> None:
    """By a condition over what is asked."""
    server = await serve(changes=masked("context.customer_email", when='context.region == "eu"'))
    for region in ("eu", "us"):
        assert await server.check(about_customer(region=region)) == "GRANTED"
    contexts = [record["request"]["context"] for record in await decisions_of(server)]
    assert [context["customer_email"] == EMAIL for context in contexts] == [False, True]


async def test_a_scribe_that_is_started_again_masks_as_the_one_before(serve: Serve) -> None:
    """With the same rules and the same secret, whatever has become of its file: what it is sent is not masked yet."""
    server = await serve(changes=masked("context.customer_email"))
    assert await server.check(about_customer()) == "GRANTED"
    await decisions_of(server)
    (server.sidecar.settings.journal_dir / MASKING_KEY).unlink()
    scribe = server.sidecar.evidence._journal._writer._scribe
    assert isinstance(scribe, ScribeProcess)
    assert scribe.pid is not None
    os.kill(scribe.pid, signal.SIGKILL)
    assert await server.check(about_customer()) == "GRANTED"
    first, second = (record["request"]["context"]["customer_email"] for record in await decisions_of(server))
    assert first["masked"] == second["masked"]
    assert not (server.sidecar.settings.journal_dir / MASKING_KEY).exists()


async def test_equality_can_still_be_shown(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """By digests, over restarts, and by whoever holds the key."""
    digests = []
    for email in (EMAIL, "other@shop.example", EMAIL):
        server = await serve(facts=not digests, changes=masked("context.customer_email"))
        assert await server.check(about_customer(email)) == "GRANTED"
        digests.append((await decisions_of(server))[-1]["request"]["context"]["customer_email"]["masked"])
        await server.sidecar.stop()
    capsys.readouterr()
    assert (digests[0] == digests[2], digests[0] == digests[1]) == (True, False)
    with pytest.raises(SystemExit) as ended:
        main(["journal", "digest", json.dumps(EMAIL), "--data-dir", server.sidecar.settings.data_dir])
    assert (ended.value.code, capsys.readouterr().out) == (0, digests[0] + "\n")


async def test_the_first_start_that_masks_is_on_record(serve: Serve) -> None:
    """From there on digests can be compared with each other; a journal without masks has no key."""
    server = await serve()
    assert not (server.sidecar.settings.journal_dir / MASKING_KEY).exists()
    await server.sidecar.stop()
    for _ in range(2):
        server = await serve(facts=False, changes=masked("context.customer_email"))
        await server.sidecar.stop()
    events = [entry.record() for entry in read(server.sidecar.settings.journal_dir)]
    made = [event["attributes"] for event in events if event.get("name") == "masking_key_made"]
    assert [sorted(attributes) for attributes in made] == [["key"]]  # type: ignore[type-var]


def digest(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """Run `pdp journal digest`; return the exit code and the error."""
    with pytest.raises(SystemExit) as ended:
        main(["journal", "digest", *arguments])
    return ended.value.code, capsys.readouterr().err.partition("\n")[0]


async def test_a_digest_needs_a_key_and_json(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else would be a digest that nothing has."""
    server = await serve()
    at = ["--data-dir", server.sidecar.settings.data_dir]
    expected = f"error: the journal in `{server.sidecar.settings.data_dir}` masks nothing: it has no key"
    assert digest(capsys, "1", *at) == (2, expected)
    await server.sidecar.stop()
    await serve(facts=False, changes=masked("context.customer_email"))
    assert digest(capsys, EMAIL, *at) == (2, "error: the value is not JSON")


async def test_a_key_that_others_may_read_refuses_to_start(serve: Serve) -> None:
    """And what was opened before is released, so that it starts once that is mended."""
    server = await serve(changes=masked("context.customer_email"))
    await server.sidecar.stop()
    key = server.sidecar.settings.journal_dir / MASKING_KEY
    key.chmod(0o644)
    with pytest.raises(MaskingKeyError, match="may be read by others"):
        await serve(facts=False, changes=masked("context.customer_email"))
    key.chmod(0o600)
    again = await serve(facts=False, changes=masked("context.customer_email"))
    assert await again.check(about_customer()) == "GRANTED"
