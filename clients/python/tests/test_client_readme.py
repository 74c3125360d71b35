"""The README's examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sessionpdp

if TYPE_CHECKING:
    from clients.python.tests.conftest import ScriptedServer

README = (Path(__file__).parent.parent / "README.md").read_text()
DECIDING = README.split("## Governance")[0]
"""The rest needs facts: `tests/integration/test_server_client_readme.py` runs it against a sidecar."""


def test_every_example_of_decisions_runs(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, as a reader would try them."""
    monkeypatch.setenv("SESSIONPDP_TARGET", server.target)
    server.deny("SESSION_EXPIRED")
    names: dict[str, object] = {"__name__": "readme"}

    for block in re.findall(r"```python\n(.*?)```", DECIDING, flags=re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own examples

    assert capsys.readouterr().out.splitlines() == [
        "['SESSION_EXPIRED']",
        "SESSION_EXPIRED: by the script",
        "0 of 100",
        "closing: SESSION_EXPIRED",
    ]


@pytest.mark.parametrize("code", [*sessionpdp.Doubt, *sessionpdp.GuardCode])
def test_every_code_of_this_client_is_documented(code: str) -> None:
    """A user who meets it can look it up."""
    assert f"`{code}`" in README


def test_every_export_exists() -> None:
    """And nothing else is public at the top."""
    public = {name for name in vars(sessionpdp) if not name.startswith("_") and name[0].isupper()}
    assert public | {"guarded"} == set(sessionpdp.__all__)
