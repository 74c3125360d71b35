"""The README of the Python client, from top to bottom, against a sidecar that knows the principals it names."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from pdp.core.scope import IdentityScope
from pdp.governance.roles import Role
from pdp.governance.tokens import hash_of
from pdp.settings import Administration, PrincipalSettings
from tests.integration.conftest import Serve
from tests.integration.serving import token_of

README = (Path(__file__).parents[2] / "clients" / "python" / "README.md").read_text()
PRINCIPALS = {
    "security": PrincipalSettings(roles=frozenset({Role.OPERATOR}), tokens=[hash_of(token_of("security"))]),
    "release-manager": PrincipalSettings(
        roles=frozenset({Role.REQUESTER}),
        identities=IdentityScope(["report-agent"]),
        tokens=[hash_of(token_of("release-manager"))],
    ),
    "change-manager": PrincipalSettings(
        roles=frozenset({Role.APPROVER, Role.REVIEWER}), tokens=[hash_of(token_of("change-manager"))]
    ),
    "auditor": PrincipalSettings(roles=frozenset({Role.AUDITOR}), tokens=[hash_of(token_of("auditor"))]),
}


async def test_every_example_runs_against_a_sidecar(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The work is granted, and the session that it was done in is closed."""
    running = await serve(facts=False, changes={"administration": Administration(principals=PRINCIPALS)})
    monkeypatch.setenv("SESSIONPDP_TARGET", running.sidecar.settings.decision_address())
    monkeypatch.setenv("SESSIONPDP_ADMIN_TARGET", running.sidecar.settings.administration_address())
    for name in PRINCIPALS:
        monkeypatch.setenv(f"{name.upper().replace('-', '_')}_TOKEN", token_of(name))

    names = await asyncio.to_thread(_run_examples)

    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith(("POLICY_LIMIT", "denied"))] == [
        "POLICY_LIMIT: certify for at most 400d, and again then"
    ]
    assert names["decision"].code == "GRANTED"
    assert (names["record"].decision_id, names["record"].owner) == (names["decision"].decision_id, "team-data")
    assert (names["replay"].agrees, names["verification"].intact) == (True, True)
    (session,) = running.sidecar.snapshot.sessions.values()
    assert (session.identity, session.state) == ("report-agent", "closed")


def _run_examples() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    try:
        for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
            exec(compile(block, "README.md", "exec"), names)  # noqa: S102  # our own examples
    finally:
        for client in ("pdp", "security", "release_manager", "change_manager", "auditor"):
            if client in names:
                names[client].close()
    return names
