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
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- readme: ([^\n]*) -->\n```\w+\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return an empty directory but for what `make` sets up."""
    with tempfile.TemporaryDirectory(prefix="pdp-") as name:
        path = Path(name)
        (path / ".venv").symlink_to(Path(sys.prefix))
        yield path


@contextmanager
def _sidecar(folder: Path, *options: str) -> Iterator[None]:
    """Run a sidecar as the README says."""
    command = [Path(sys.prefix) / "bin" / "pdp", "serve", *options]
    socket = folder / "data" / "admin.sock"
    socket.unlink(missing_ok=True)
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        _wait_for(socket)
        yield
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
    (serve, _), *blocks, (after_restart, consent) = BLOCKS
    assert (serve, after_restart) == ("serve", "run after restart")
    with _sidecar(folder):
        runs = [_run(mark, text, folder) for mark, text in blocks]
    (folder / "pdp.yaml").write_text(runs[-1].stderr)
    with _sidecar(folder, "--config", "pdp.yaml"):
        runs.append(_run("run", consent, folder))

    shown = [run.stdout for run in runs]
    assert "ALLOW" in shown[0].upper()
    assert "TASK_ENDED" in shown[1]
    assert "REASON_CODE_TASK_ENDED" in shown[2]
    assert shown[3] == "TASK_ENDED task `release-7.4` is completed\n"
    assert "release 7.5" in shown[4]
    assert shown[5] == "GRANTED\n"
    token = folder / "change-manager.token"
    assert (token.read_text()[:7], token.stat().st_mode & 0o777) == ("pdpadm_", 0o600)


def test_tokens_are_not_committed() -> None:
    """A repository is no place for what the README has one write beside it."""
    assert "*.token" in (ROOT / ".gitignore").read_text().splitlines()


def _run(mark: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    kind, _, exit_code = mark.partition(", exit ")
    command = ["bash", "-euc", text] if kind == "run" else [sys.executable, "-c", text]
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=_environment()
    )
    assert int(exit_code or 0) == run.returncode, f"{text}\n{run.stdout}\n{run.stderr}"
    return run


def _environment() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1"}
