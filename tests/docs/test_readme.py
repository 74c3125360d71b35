"""The README's commands do what it says, in its order, in an empty directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- readme: ([^\n]*) -->\n```\w+\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a directory in which a sidecar runs as the README says."""
    with tempfile.TemporaryDirectory(prefix="pdp-") as name:
        path = Path(name)
        (path / ".venv").symlink_to(Path(sys.prefix))
        server = subprocess.Popen([Path(sys.prefix) / "bin" / "pdp", "serve"], cwd=path, stdout=subprocess.DEVNULL)
        try:
            _wait_for(path / "data" / "admin.sock")
            yield path
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(20)


def _wait_for(socket: Path) -> None:
    for _ in range(300):
        if socket.exists():
            return
        time.sleep(0.1)
    pytest.fail(f"{socket} did not appear")


def test_the_readme_runs_from_top_to_bottom(folder: Path) -> None:
    """Every block marked to run exits as the README says, in its order."""
    shown = []
    for mark, text in BLOCKS:
        kind, _, exit_code = mark.partition(", exit ")
        if kind == "serve":
            continue
        command = ["bash", "-euc", text] if kind == "run" else [sys.executable, "-c", text]
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=_environment()
        )
        assert int(exit_code or 0) == run.returncode, f"{text}\n{run.stdout}\n{run.stderr}"
        shown.append(run.stdout)

    assert "ALLOW" in shown[0].upper()
    assert "TASK_ENDED" in shown[1]
    assert "REASON_CODE_TASK_ENDED" in shown[2]
    assert shown[3] == "TASK_ENDED task `release-7.4` is completed\n"
    assert "release 7.5" in shown[4]
    assert shown[5] == "GRANTED\n"
    assert (folder / "change-manager.token").read_text().startswith("pdpadm_")


def _environment() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1"}
