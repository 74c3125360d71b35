"""The README's examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sessionpdp

from tests.recording_governance import recording

if TYPE_CHECKING:
    from clients.python.tests.conftest import ScriptedServer

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_example_runs(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, as a reader would try them."""
    monkeypatch.setenv("SESSIONPDP_TARGET", server.target)
    server.deny("SESSION_EXPIRED")
    names: dict[str, object] = {"__name__": "readme"}

    with recording() as administration:
        monkeypatch.setenv("SESSIONPDP_ADMIN_TARGET", administration.target)
        administration.refuse("Approve", "FOUR_EYES", "you requested it", "have somebody else approve", "approval:a-1")
        for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
            exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own examples

    assert capsys.readouterr().out.splitlines() == [
        "['SESSION_EXPIRED']",
        "SESSION_EXPIRED: by the script",
        "0 of 100",
        "closing: SESSION_EXPIRED",
        "FOUR_EYES: have somebody else approve",
        "denied: SESSION_EXPIRED",
    ]


@pytest.mark.parametrize("code", [*sessionpdp.Doubt, *sessionpdp.GuardCode])
def test_every_code_of_this_client_is_documented(code: str) -> None:
    """A user who meets it can look it up."""
    assert f"`{code}`" in README


def test_every_export_exists() -> None:
    """And nothing else is public at the top."""
    public = {name for name in vars(sessionpdp) if not name.startswith("_") and name[0].isupper()}
    assert public | {"guarded"} == set(sessionpdp.__all__)
