"""The direction of dependence, as `pyproject.toml` states it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_import_keeps_the_contracts() -> None:
    """Doors know the core, the core knows no door, and CEL stands behind one module."""
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_core_reads_no_clock_and_no_environment() -> None:
    """A decision is a function of request, snapshot and instant: nothing else may flow in."""
    told = ("import time\n", "from time import", "time.time", "datetime.now", "import random", "os.environ", "getenv(")
    faults = [
        f"{path.relative_to(ROOT)}: {word.strip()}"
        for path in sorted((ROOT / "pdp" / "core").rglob("*.py"))
        for word in told
        if word in path.read_text()
    ]
    assert faults == []
