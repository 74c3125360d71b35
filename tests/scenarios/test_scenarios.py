"""Every scenario of this repository, told to every driver; together they show every reason code."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdp.core.reasons import Code
from pdp.governance.refusal import Rule
from pdp.scenarios.commanding import COMMANDS_BY_NAME, name_of
from pdp.scenarios.driver import Driver, RoleRule
from pdp.scenarios.reading import read_scenario
from pdp.scenarios.report import results_text
from pdp.scenarios.runner import Results, run_scenario, scenario_paths
from pdp.scenarios.story import Ask, CarryOut

ROOT = Path(__file__).resolve().parents[2]
PATHS = scenario_paths([ROOT / "policies", ROOT / "tests/scenarios/cases"])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.relative_to(ROOT).as_posix())
async def test_the_story_goes_as_it_says(path: Path, driver: Driver) -> None:
    """Each step's answer is the expected one."""
    result = await run_scenario(read_scenario(path), lambda: driver)
    assert result.passed, results_text(Results((result,)))


def test_every_reason_code_is_the_primary_one_somewhere() -> None:
    """A code that no story shows is a code that nobody has seen work."""
    steps = [step for path in PATHS for step in read_scenario(path).steps]
    expected = [step.action.expect for step in steps if isinstance(step.action, Ask)]
    shown = {(*(answer.codes or ()), answer.code)[0] for answer in expected}
    assert [code for code in Code if code not in shown] == []


def test_every_command_is_carried_out_somewhere() -> None:
    """A command that no story shows is a command that no client has sent."""
    commands = [
        step.action for path in PATHS for step in read_scenario(path).steps if isinstance(step.action, CarryOut)
    ]
    shown = {name_of(type(one.command)) for one in commands if one.expect is None}
    assert [name for name in COMMANDS_BY_NAME if name not in shown] == []


def test_every_rule_of_commands_refuses_something_somewhere() -> None:
    """But the one about idempotency keys, which stories have none of."""
    commands = [
        step.action for path in PATHS for step in read_scenario(path).steps if isinstance(step.action, CarryOut)
    ]
    shown = {rule for one in commands if one.expect is not None for rule in one.expect.rules}
    assert [rule for rule in (*Rule, *RoleRule) if rule not in shown] == [Rule.KEY_REUSED]


def test_every_example_has_a_story_policies_facts_and_a_readme() -> None:
    """They are what users read first."""
    folders = [path for path in (ROOT / "policies/examples").iterdir() if path.is_dir()]
    incomplete = [
        folder.name
        for folder in folders
        if not (
            scenario_paths([folder])
            and (folder / "README.md").is_file()
            and (folder / "facts.yaml").is_file()
            and (folder / "policy.yaml").is_file()
        )
    ]
    assert incomplete == []


def test_every_scenario_has_a_name_of_its_own() -> None:
    """A report names them."""
    names = [read_scenario(path).name for path in PATHS]
    assert sorted(set(names)) == sorted(names)
