"""What the figures are taken on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.outcome import Conditions

ROOT = Path(__file__).resolve().parent.parent


def conditions(directory: Path) -> Conditions:
    """Return the conditions of this moment; `directory` is where workloads write."""
    return Conditions(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        grpcio=version("grpcio"),
        protobuf=version("protobuf"),
        uvloop=version("uvloop"),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load=" ".join(f"{load:.2f}" for load in os.getloadavg()),
        commit=_commit(),
        filesystem=_filesystem(directory),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {name.strip(): value.strip() for name, value in facts.items()}
    model = named.get("model name", "unknown")
    details = [f"{word} {named[word]}" for word in ("cpu family", "model", "stepping") if word in named]
    return f"{model} ({', '.join(details)})" if details else model


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "pdp", "clients", "proto")
        return git("rev-parse", "--short", "HEAD") + (" and changes not committed" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _filesystem(directory: Path) -> str:
    """Return the type of the file system that a directory lies on: the longest mount point above it."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    above = [(len(mount[1]), mount[2]) for mount in mounts if directory.resolve().is_relative_to(mount[1])]
    return max(above, default=(0, "unknown"))[1]
