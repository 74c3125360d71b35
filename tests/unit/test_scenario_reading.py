"""Scenario files: read whole, with every problem at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdp.core.model import Identity, Task
from pdp.core.reasons import Code
from pdp.scenarios.driver import Outcome
from pdp.scenarios.reading import read_scenario
from pdp.scenarios.story import Ask, Expectation, Scenario
from pdp.state.document import DocumentError

HEAD = "scenario: s\nnow: 2026-03-01T10:00:00Z\n"
CHECK = "check: {subject: a, action: b, resource: 'c:d'}"
INLINE = "policy: p, match: {actions: [a], resources: ['x:**']}"
POLICY = "policy: {name}\nmatch: {{actions: [a], resources: ['x:**']}}\nlimit: {{session_ttl: 1h}}\n"


def read(folder: Path, text: str) -> Scenario:
    """Read a scenario from its text."""
    path = folder / "a.scenario.yaml"
    path.write_text(HEAD + text)
    return read_scenario(path)


def problems(folder: Path, text: str) -> list[str]:
    """Return the problems of a scenario, each with line and column."""
    with pytest.raises(DocumentError) as caught:
        read(folder, text)
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems]


def expectation(folder: Path, text: str) -> Expectation:
    """Return what is expected of the only step."""
    action = read(folder, f"steps:\n- {CHECK}\n  expect: {text}\n").steps[0].action
    assert isinstance(action, Ask)
    return action.expect


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("allow", Expectation(outcome=Outcome.ALLOW)),
        ("deny", Expectation(outcome=Outcome.DENY)),
        ("GRANTED_BREAK_GLASS", Expectation(outcome=Outcome.ALLOW, code=Code.GRANTED_BREAK_GLASS)),
        ("TASK_ENDED", Expectation(outcome=Outcome.DENY, code=Code.TASK_ENDED)),
        ("{code: GRANTED}", Expectation(outcome=Outcome.ALLOW, code=Code.GRANTED)),
        ("{codes: [TASK_ENDED]}", Expectation(outcome=Outcome.DENY, codes=(Code.TASK_ENDED,))),
    ],
)
def test_what_is_expected_may_be_short(tmp_path: Path, text: str, expected: Expectation) -> None:
    """An outcome or a code; and a code says the outcome."""
    assert expectation(tmp_path, text) == expected


def test_policies_are_by_default_those_of_the_folder(tmp_path: Path) -> None:
    """A story lies beside what it is about."""
    (tmp_path / "p.yaml").write_text(POLICY.format(name="beside"))
    scenario = read(tmp_path, "steps: [{advance: 1m}]\n")
    assert [policy.name for policy in scenario.policies.policies] == ["baseline", "beside"]


def test_policies_may_be_named_or_written_in_place(tmp_path: Path) -> None:
    """Relative to the scenario's folder."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/p.yaml").write_text(POLICY.format(name="named"))
    (tmp_path / "unread.yaml").write_text(POLICY.format(name="unread"))
    inline = POLICY.format(name="inline").rstrip().replace("\n", "\n  ")
    scenario = read(tmp_path, f"policies:\n- sub/p.yaml\n- {inline}\nsteps: [{{advance: 1m}}]\n")
    assert [policy.name for policy in scenario.policies.policies] == ["baseline", "inline", "named"]


def test_facts_may_be_named_and_written_in_place(tmp_path: Path) -> None:
    """In this order."""
    (tmp_path / "facts.yaml").write_text("tasks: [{id: t}]\n")
    scenario = read(tmp_path, "facts:\n- facts.yaml\n- identities: [{id: a, kind: human}]\nsteps: [{advance: 1m}]\n")
    assert [type(fact) for fact in scenario.facts] == [Task, Identity]


def test_a_step_knows_its_line(tmp_path: Path) -> None:
    """A failure leads there."""
    scenario = read(tmp_path, "steps:\n- advance: 1m\n\n- name: later\n  advance: 1m\n")
    assert [(step.line, step.name) for step in scenario.steps] == [(4, ""), (6, "later")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps: []\n", ["3:8: must have at least one step"]),
        ("steps: [{name: n}]\n", ["3:9: a step must have exactly one verb, with its value; found none"]),
        (
            "steps: [{advance: 1m, retire: a}]\n",
            ["3:9: a step must have exactly one verb, with its value; found `advance`, `retire`"],
        ),
        ("steps: [{advance: 1m, expect: allow}]\n", ["3:9: `advance` has nothing to expect"]),
        (f"steps: [{{{CHECK}}}]\n", None),
        (f"steps: [{{{CHECK}, expect: yes}}]\n", None),
        (f"steps: [{{{CHECK}, expect: maybe}}]\n", ["3:67: `maybe` is neither `allow` nor `deny` nor a reason code"]),
        ("steps: [{advance: 1m, repeat: 2}]\n", ["3:31: `advance` cannot be repeated"]),
        (f"steps: [{{{CHECK}, expect: allow, repeat: 0}}]\n", ["3:82: must be at least 1"]),
        ("steps: [{advance: 1 minute}]\n", None),
        ("steps: [{certify: {id: e, by: approver}}]\n", ["3:19: is required"]),
        ("steps: [{review: {id: e, by: approver, until: 2026-03-01T10:00:00Z}}]\n", None),
        ("steps: [{adavnce: 1m}]\n", ["3:19: unknown key: did you mean `advance`?"]),
        ("steps: [{policies: p.yaml}]\n", ["3:20: must be a list of file names or policies"]),
        ("policies: [none.yaml]\nsteps: [{advance: 1m}]\n", ["1:1: cannot be read: no such file or directory"]),
        ("facts: none.yaml\nsteps: [{advance: 1m}]\n", ["1:1: cannot be read: no such file or directory"]),
        ("facts: {tasks: [{id: ''}]}\nsteps: [{advance: 1m}]\n", ["3:22: must not be empty"]),
        ("callers: {a: ['b*']}\nsteps: [{advance: 1m}]\n", ["3:14: pattern `b*`: `*` must stand alone as a segment"]),
        (
            "steps: [{check: {subject: a, action: b, resource: c, at_least_revision: 7}, expect: allow}]\n",
            None,
        ),
        (
            "steps: [{check: {subject: a, action: b, resource: c, at_least_revision: next}, expect: allow}]\n",
            ["3:73: must be `latest` or `latest+N`"],
        ),
        (
            f"policies: [{{{INLINE}, deny: [{{name: n, cel: nope}}]}}]\nsteps: [{{advance: 1m}}]\n",
            ["3:90: undeclared reference to `nope`"],
        ),
    ],
)
def test_a_bad_scenario_is_refused(tmp_path: Path, text: str, expected: list[str] | None) -> None:
    """At the very place; None: the place and words are the decoder's."""
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert expected in (None, found)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """Of every step."""
    found = problems(tmp_path, "steps:\n- advance: soon\n- at: noon\n- fault: none\n- fault: flood\n")
    assert [problem.split(":")[0] for problem in found] == ["4", "5", "7"]
