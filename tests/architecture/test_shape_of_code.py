"""How the code is cut: small functions, short modules, honest names, a docstring on all that is public."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES_OF_A_FUNCTION = 40
MOST_LINES_OF_A_MODULE = 400
SAYS_NOTHING = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "base", "misc"}

_Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """A module of the product, by its path from the root of the checkout."""

    name: str
    text: str
    tree: ast.Module


def _sources() -> Iterator[Source]:
    for folder in ("pdp", "clients/python/src"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_pb2" not in path.name:
                text = path.read_text()
                yield Source(str(path.relative_to(ROOT)), text, ast.parse(text))


SOURCES = list(_sources())


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: source.name)
def source(request: pytest.FixtureRequest) -> Source:
    """Return each module of the server and of the Python client, but generated ones."""
    found: Source = request.param
    return found


def test_the_product_was_found() -> None:
    """An empty search would pass every other test."""
    assert {"pdp/core/decide.py", "clients/python/src/sessionpdp/client.py"} <= {source.name for source in SOURCES}


def test_no_function_is_longer_than_a_screen(source: Source) -> None:
    """The worst function tells the quality, not the average."""
    functions = [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {(node.name, node.lineno): (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {place: lines for place, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def test_no_module_is_longer_than_can_be_read(source: Source) -> None:
    """What grows beyond that decides more than one thing."""
    assert len(source.text.splitlines()) <= MOST_LINES_OF_A_MODULE


def test_every_module_is_named_for_what_it_decides(source: Source) -> None:
    """A name that could stand on anything says nothing."""
    words = {word for part in Path(source.name).with_suffix("").parts for word in part.split("_")}
    assert words & SAYS_NOTHING == set()


def test_nothing_is_left_for_later(source: Source) -> None:
    """What is missing belongs into an issue, not into a comment."""
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", source.text) == []


def test_all_that_is_public_has_a_docstring(source: Source) -> None:
    """Modules, classes, functions and methods; what Python names itself means what Python says."""
    assert [name for name, node in _public(source.tree, "") if not ast.get_docstring(node)] == []


def _public(node: _Documented, name: str) -> Iterator[tuple[str, _Documented]]:
    """Yield what is public in a module or class, itself included."""
    yield name or "module", node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            overload = any(getattr(one, "id", "") == "overload" for one in child.decorator_list)
            if not child.name.startswith("_") and not overload:
                yield from _public(child, f"{name}.{child.name}".lstrip("."))
