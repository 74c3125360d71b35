"""Whatever is written in a policy or scenario file, the loader answers with a set or with problems."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdp.core.policy.compile import Evidence
from pdp.core.policy.rules import PolicySet
from pdp.scenarios.reading import read_scenario
from pdp.state.document import DocumentError, Problem
from pdp.state.policy_files import load
from pdp.state.scalar_text import place_inside

ROOT = Path(__file__).resolve().parents[2]
POLICIES = [path.read_text() for path in sorted((ROOT / "policies/examples").rglob("policy.yaml"))]
SCENARIOS = [path.read_text() for path in sorted((ROOT / "policies/examples").rglob("*.scenario.yaml"))]

WORDS = [
    "policy", "match", "actions", "resources", "require", "approval", "kinds", "ticket", "independent", "context",
    "name", "cel", "limit", "session_ttl", "deny", "obligations", "evidence", "p", "1h", "**", "a.*", "db:**", "true",
    "CHG-\\d+", "(", "context.a == 1", "context.a ==", 'in_hours(now, "x", "y")', "", "é", "\x00", "|", ">-",
    *Evidence,
]  # fmt: skip
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(WORDS), st.text(max_size=8))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)


@st.composite
def mangled(draw: st.DrawFn, originals: list[str]) -> str:
    """Return a good file with a piece of it replaced."""
    text: str = draw(st.sampled_from(originals))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 40)))
    piece: str = draw(st.sampled_from([*WORDS, ":", "- ", "\n", "\t", "'", '"', "{", "&a ", "*a"]))
    return text[:start] + piece + text[end:]


def loaded(text: str) -> PolicySet | tuple[Problem, ...]:
    """Load a file with the text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.yaml"
        path.write_bytes(text.encode(errors="surrogatepass"))
        try:
            return load([path])
        except DocumentError as error:
            return error.problems


def lines_are_real(problems: tuple[Problem, ...], text: str) -> bool:
    """Whether each problem points into the text, or right behind it."""
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 2
    return bool(problems) and all(1 <= problem.line <= lines and problem.column >= 1 for problem in problems)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | mangled(POLICIES))
@example("policy: p\nmatch: {actions: ['*'], resources: ['**']}\nrequire: {approval: {ticket: '" + "(" * 250 + "'}}\n")
@example("policy: p\nmatch: {actions: ['*'], resources: ['**']}\ndeny: [{name: n, cel: '" + "(" * 4000 + "'}]\n")
@example("policy: p\nmatch: {actions: ['*'], resources: ['**']}\ndeny: [{name: n, cel: '" + "!" * 4000 + "true'}]\n")
def test_any_text_is_a_set_or_problems(text: str) -> None:
    """Nothing but DocumentError is ever raised, and each problem has a place."""
    answer = loaded(text)
    assert isinstance(answer, PolicySet) or lines_are_real(answer, text)


@settings(max_examples=150, deadline=None)
@given(values)
def test_any_values_are_a_set_or_problems(value: object) -> None:
    """Also when the text is YAML through and through."""
    answer = loaded(json.dumps(value))
    assert isinstance(answer, PolicySet) or len(answer) > 0


@settings(max_examples=100, deadline=None)
@given(mangled(SCENARIOS))
def test_any_scenario_is_a_story_or_problems(text: str) -> None:
    """The files it names are there or not, but nothing else is raised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.scenario.yaml"
        path.write_bytes(text.encode(errors="surrogatepass"))
        try:
            read_scenario(path)
        except DocumentError as error:
            assert error.problems  # noqa: PT017  # either a story or problems


places = st.tuples(st.integers(1, 5), st.integers(1, 12))


@settings(max_examples=150, deadline=None)
@given(st.text("ab'\"\\|> \n#:", max_size=60), places, st.text("ab'\" \n", max_size=20), places)
def test_a_place_inside_is_a_place(text: str, start: tuple[int, int], value: str, place: tuple[int, int]) -> None:
    """Whatever the text, the answer is a line and a column."""
    line, column = place_inside(text, start, value, place)
    assert (line >= 1, column >= 1) == (True, True)
