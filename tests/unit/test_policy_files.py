"""Policy files: found, read as a whole, and complained about at the very place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdp.state.document import DocumentError
from pdp.state.policy_files import load

GOOD = """
policy: {name}
match: {{actions: ["rows.*"], resources: ["database:**"]}}
limit: {{session_ttl: 1h}}
"""


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file, making its folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(*directories: Path) -> list[str]:
    """Return the names of the policies that are loaded."""
    return [policy.name for policy in load(directories).policies]


def problems(*directories: Path) -> list[str]:
    """Return the problems, with file names instead of paths."""
    with pytest.raises(DocumentError) as caught:
        load(directories)
    return [
        f"{Path(problem.source).name}:{problem.line}:{problem.column}: {problem.message}"
        for problem in caught.value.problems
    ]


def test_the_baseline_always_applies() -> None:
    """Even without any directory."""
    assert names() == ["baseline"]


def test_files_are_found_below_the_directory(tmp_path: Path) -> None:
    """At any depth; a single file may be named, too."""
    write(tmp_path, "b/deep/x.yaml", GOOD.format(name="x"))
    single = write(tmp_path, "elsewhere/y.yaml", GOOD.format(name="y"))
    assert names(tmp_path / "b", single) == ["baseline", "x", "y"]


def test_what_is_not_a_policy_by_its_name_is_left_alone(tmp_path: Path) -> None:
    """Scenarios, facts, schemas, hidden files and other kinds of files."""
    for name in (
        "a.scenario.yaml",
        "scenarios.yaml",
        "facts.yaml",
        "facts-2.yaml",
        "schema/s.yaml",
        ".x.yaml",
        "README",
    ):
        write(tmp_path, name, "not: a policy")
    assert names(tmp_path) == ["baseline"]


def test_a_file_may_hold_several_policies(tmp_path: Path) -> None:
    """As a list."""
    write(tmp_path, "p.yaml", "".join("-" + GOOD.format(name=name).replace("\n", "\n  ") + "\n" for name in "ab"))
    assert names(tmp_path) == ["a", "b", "baseline"]


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    """The second policy is refused, and the first one's place is said."""
    first = write(tmp_path, "a.yaml", GOOD.format(name="same"))
    write(tmp_path, "b.yaml", GOOD.format(name="same"))
    assert problems(tmp_path) == [f"b.yaml:2:9: policy `same` is already defined at {first}:2"]


def test_the_baseline_cannot_be_replaced(tmp_path: Path) -> None:
    """Its name is taken."""
    write(tmp_path, "p.yaml", GOOD.format(name="baseline"))
    assert [problem.split(" at ")[0] for problem in problems(tmp_path)] == [
        "p.yaml:2:9: policy `baseline` is already defined"
    ]


def test_every_problem_of_every_file_is_said(tmp_path: Path) -> None:
    """With line and column, and a suggestion for what was mistyped."""
    write(
        tmp_path, "a.yaml", "policy: a\nmach: {}\nmatch: {actions: a*, resources: [x]}\ndeny: [{name: n, cel: nope}]\n"
    )
    write(tmp_path, "b.yaml", "policy: b\nmatch: {actions: [a], resources: ['x:**']}\nlimit: {session_ttl: 1 hour}\n")
    assert problems(tmp_path) == [
        "a.yaml:2:7: unknown key: did you mean `match`?",
        "a.yaml:3:18: pattern `a*`: `*` must stand alone as a segment",
        "a.yaml:3:34: resource pattern `x` must have the form `type:path`",
        "a.yaml:4:23: undeclared reference to `nope`",
        "b.yaml:3:22: `1 hour` is not a duration like `1h30m`, `90s` or `250ms`",
    ]


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """It is not an empty one."""
    assert problems(tmp_path / "none") == ["none:1:1: cannot be read: no such file or directory"]


@pytest.mark.parametrize("text", ["", "# only a comment", "[]", "just text", "- 1", "policy: a\n---\npolicy: b"])
def test_a_file_without_a_policy_is_a_problem(tmp_path: Path, text: str) -> None:
    """Its author meant something by it."""
    write(tmp_path, "p.yaml", text)
    assert len(problems(tmp_path)) == 1


def test_another_ending_is_not_silently_ignored(tmp_path: Path) -> None:
    """A policy that is not read protects nothing."""
    write(tmp_path, "p.yml", GOOD.format(name="p"))
    assert problems(tmp_path) == ["p.yml:1:1: is not read: name it `.yaml`"]


def test_links_within_the_tree_are_followed_once(tmp_path: Path) -> None:
    """As in a mounted ConfigMap, whose files are links into `..data`."""
    write(tmp_path, "..2026_03_01/sub/p.yaml", GOOD.format(name="p"))
    write(tmp_path, "..2026_03_01/q.yaml", GOOD.format(name="q"))
    (tmp_path / "..data").symlink_to("..2026_03_01")
    (tmp_path / "q.yaml").symlink_to("..data/q.yaml")
    (tmp_path / "sub").symlink_to("..data/sub")
    (tmp_path / "sub2").symlink_to("..data/sub")
    assert names(tmp_path) == ["baseline", "p", "q"]


def test_a_link_out_of_the_tree_is_refused(tmp_path: Path) -> None:
    """Neither followed nor ignored."""
    write(tmp_path, "outside/p.yaml", GOOD.format(name="p"))
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/p.yaml").symlink_to(tmp_path / "outside/p.yaml")
    assert problems(tmp_path / "inside") == [f"p.yaml:1:1: is a link that leads out of `{tmp_path / 'inside'}`"]


def test_a_link_to_itself_is_a_problem(tmp_path: Path) -> None:
    """It does not raise, and does not end in a loop."""
    (tmp_path / "p.yaml").symlink_to("p.yaml")
    assert len(problems(tmp_path)) == 1


def test_the_version_does_not_depend_on_files(tmp_path: Path) -> None:
    """Nor on their names, the order of keys, or comments."""
    write(tmp_path, "one/a.yaml", GOOD.format(name="a"))
    write(tmp_path, "one/b.yaml", GOOD.format(name="b"))
    write(
        tmp_path,
        "two/z.yaml",
        """
- limit: {session_ttl: 60m}   # an hour
  policy: b
  description: written in another way
  match: {resources: "database:**", actions: "rows.*"}
- {policy: a, match: {actions: ["rows.*"], resources: ["database:**"]}, limit: {session_ttl: 1h}}
""",
    )
    one, two = load([tmp_path / "one"]), load([tmp_path / "two"])
    assert (len(one.version), one.version) == (16, two.version)


def test_another_limit_is_another_version(tmp_path: Path) -> None:
    """The version stands for the content."""
    write(tmp_path, "one/a.yaml", GOOD.format(name="a"))
    write(tmp_path, "two/a.yaml", GOOD.format(name="a").replace("1h", "2h"))
    assert load([tmp_path / "one"]).version != load([tmp_path / "two"]).version


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("cel: nope == 1", 1, 6),
        ("cel: true && nope", 1, 14),
        ("cel: 'true && ''x'' == nope'", 1, 24),
        ('cel: "true && \\"\\u0078\\" == nope"', 1, 29),
        ("cel: |\n    true &&\n      nope", 3, 7),
        ("cel: |2-\n    true && nope", 2, 13),
        ("cel: |\n\n    true &&\n\n    nope\n", 5, 5),
        ("cel: >-\n    true &&\n    nope", 3, 5),
        ("cel: >\n    true &&\n\n    true\n      && nope\n", 5, 10),
        ("cel: true &&\n    nope", 2, 5),
        ('cel: "true &&\n\n    nope"', 3, 5),
        ('cel: !!str "true && nope"', 1, 21),
        ("cel: &anchor |\n    nope", 2, 5),
    ],
)
def test_the_place_of_an_error_inside_an_expression(tmp_path: Path, text: str, line: int, column: int) -> None:
    """However the expression was quoted, folded or indented."""
    head = "policy: p\nmatch: {actions: [a], resources: ['x:**']}\ndeny:\n- name: n\n  "
    write(tmp_path, "p.yaml", head + text + "\n")
    expected_column = column + 2 if line == 1 else column
    (problem,) = problems(tmp_path)
    assert problem.startswith(f"p.yaml:{line + 4}:{expected_column}: "), problem


@pytest.mark.parametrize("name", ["facts-database.yaml", "no-scenario-use.yaml", "schema/alter.yaml", "freeze.YAML"])
def test_a_policy_under_a_name_that_is_not_read_is_refused(tmp_path: Path, name: str) -> None:
    """It would be left out in silence otherwise."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("policy: freeze\nmatch: {actions: ['**'], resources: ['**']}\ndeny: [{name: all, cel: 'true'}]\n")

    with pytest.raises(DocumentError):
        load([tmp_path])
