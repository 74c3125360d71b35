"""What the product is built from: generated code that is current, dependencies that are justified and pinned."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "clients" / "python" / "src" / "sessionpdp" / "v1"
PROJECTS = [ROOT / "pyproject.toml", ROOT / "clients" / "python" / "pyproject.toml"]
_SELF_EVIDENT = {"pytest", "coverage", "ruff", "mypy"}
"""Tools that everybody knows; `types-*` are stubs of what is justified elsewhere."""


def test_the_generated_code_is_that_of_the_contract(tmp_path: Path) -> None:
    """Generated anew, every file is the one that is kept, and none is missing."""
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([ROOT / "tools" / "gen", tmp_path], check=True, env=environment, capture_output=True)
    anew = {path.name: path.read_bytes() for path in (tmp_path / "sessionpdp" / "v1").iterdir()}
    kept = {path.name: path.read_bytes() for path in GENERATED.glob("*_pb2*.py*")}
    assert sorted(anew) == sorted(kept)
    assert [name for name in anew if anew[name] != kept[name]] == []


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_dependency_says_why_it_is_there(project: Path) -> None:
    """One comment each, where it is declared."""
    lines = project.read_text().splitlines()
    unjustified = [name for name in _dependencies(project) if not _justified(name, lines)]
    assert unjustified == []


def test_the_constraints_pin_versions_and_name_no_place() -> None:
    """Each line is a release of a package, from whatever index the user trusts."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+( *;.*)?", line)] == []
    assert [line for line in lines if "://" in line] == []


def _dependencies(project: Path) -> list[str]:
    told = tomllib.loads(project.read_text())["project"]
    extras = told.get("optional-dependencies", {}).values()
    return [*told.get("dependencies", []), *(one for extra in extras for one in extra)]


def _justified(dependency: str, lines: list[str]) -> bool:
    name = re.split(r"[^A-Za-z0-9._-]", dependency)[0]
    if name in _SELF_EVIDENT or name.startswith("types-"):
        return True
    place = next(place for place, line in enumerate(lines) if dependency in line)
    beside = lines[place].split(dependency, 1)[1]
    return "#" in beside or lines[place - 1].lstrip().startswith("#")
