"""Running: what does not go as the story says is reported, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pdp.core.model import AnyFact, Revision
from pdp.scenarios.core_driver import CoreDriver
from pdp.scenarios.driver import CheckSpec, DriverError, Observed
from pdp.scenarios.report import junit_xml, results_text
from pdp.scenarios.runner import Results, ScenarioFilter, run_scenarios

FACTS = """
facts:
  identities: [{id: bot, kind: workload, owner: team}]
  entitlements:
    - {id: e, identity: bot, actions: [read], resources: ["db:**"], certified_until: 2027-01-01T00:00:00Z}
  tasks: [{id: t}]
  sessions:
    - id: s
      identity: bot
      task: t
      entitlement: e
      actions: [read]
      resources: ["db:**"]
      not_before: 2026-03-01T10:00:00Z
      expires_at: 2026-03-01T11:00:00Z
      max_uses: 2
"""
ASK = "check: {subject: bot, action: read, resource: 'db:x', session: s}"


def write(folder: Path, steps: str, name: str = "a story") -> Path:
    """Write a scenario over the small world above."""
    path = folder / f"{name.replace(' ', '-')}.scenario.yaml"
    path.write_text(f"scenario: {name}\nnow: 2026-03-01T10:00:00Z\npolicies: []\n{FACTS}\nsteps:\n{steps}")
    return path


async def run(*paths: Path, filter_: str = "") -> Results:
    """Run scenarios against the core."""
    return await run_scenarios(paths, ScenarioFilter(filter_), CoreDriver)


async def test_a_story_that_goes_as_it_says_passes(tmp_path: Path) -> None:
    """And the report is one line and the sum."""
    results = await run(write(tmp_path, f"- {ASK}\n  expect: allow\n"))
    assert results_text(results) == "passed  a story (1 steps)\n1 scenario: 1 passed, 0 failed\n"


async def test_a_difference_is_shown_with_expected_and_actual(tmp_path: Path) -> None:
    """With file, line, step, and the actual reasons."""
    path = write(tmp_path, f"- advance: 1h\n- name: late\n  {ASK}\n  expect: {{code: GRANTED, task: other}}\n")
    assert results_text(await run(path)) == (
        "failed  a story\n"
        f"  {path}:23: step 2 (late)\n"
        "    outcome:\n"
        "      expected: allow\n"
        "      actual:   deny\n"
        "    code:\n"
        "      expected: GRANTED\n"
        "      actual:   SESSION_EXPIRED\n"
        "    task:\n"
        "      expected: other\n"
        "      actual:   t\n"
        "    reasons:\n"
        "      SESSION_EXPIRED: session `s` expired at 2026-03-01T11:00:00Z\n"
        "1 scenario: 0 passed, 1 failed\n"
    )


async def test_a_difference_does_not_end_the_story(tmp_path: Path) -> None:
    """All that differs is said in one run."""
    (result,) = (await run(write(tmp_path, f"- {ASK}\n  expect: deny\n- {ASK}\n  expect: deny\n"))).results
    assert [failure.step for failure in result.failures] == ["step 1", "step 2"]


async def test_a_repeated_check_says_which_time_failed(tmp_path: Path) -> None:
    """Uses are counted."""
    (result,) = (await run(write(tmp_path, f"- {ASK}\n  repeat: 3\n  expect: allow\n"))).results
    assert [failure.step for failure in result.failures] == ["step 1, time 3 of 3"]


@pytest.mark.parametrize(
    ("expect", "field"),
    [
        ("{codes: [GRANTED, TASK_ENDED]}", "codes"),
        ("{message: nothing}", "message"),
        ("{about: 'task:t'}", "about"),
        ("{policies: []}", "policies"),
        ("{valid_until: 2026-03-01T10:30:00Z}", "valid_until"),
        ("{obligations: [record]}", "obligations"),
        ("{identity: x}", "identity"),
        ("{owner: x}", "owner"),
        ("{session: x}", "session"),
        ("{entitlement: x}", "entitlement"),
        ("{approval: x}", "approval"),
        ("{ticket: x}", "ticket"),
    ],
)
async def test_each_field_of_an_expectation_is_compared(tmp_path: Path, expect: str, field: str) -> None:
    """An expectation that is not looked at would be worse than none."""
    (result,) = (await run(write(tmp_path, f"- {ASK}\n  expect: {expect}\n"))).results
    assert [difference.field for failure in result.failures for difference in failure.differences] == [field]


@pytest.mark.parametrize(
    "step",
    [
        "explain: {subject: bot, action: read, resource: 'db:x', session: s}\n  expect: {failed: [TASK_ENDED]}",
        "explain: {subject: bot, action: read, resource: 'db:x'}\n  expect: {failed: [], not_reached: []}",
        "permissions: {subject: bot, session: s}\n  expect: []",
        "permissions: {subject: bot, session: s}\n  expect: TASK_ENDED",
        "permissions: {subject: bot, session: s}\n  expect: [{action: read, resource: 'db:x'}]",
    ],
)
async def test_explanations_and_permissions_are_compared(tmp_path: Path, step: str) -> None:
    """Like answers."""
    assert not (await run(write(tmp_path, f"- {step}\n"))).passed


async def test_amending_what_was_never_written_ends_the_story(tmp_path: Path) -> None:
    """It is a mistake of the story's author."""
    (result,) = (await run(write(tmp_path, f"- retire: nobody\n- {ASK}\n  expect: deny\n"))).results
    assert [failure.error for failure in result.failures] == ["identity `nobody` has not been written by this story"]


class BrokenDriver(CoreDriver):
    """A driver that cannot write, and one that cannot answer."""

    closed = False

    async def apply(self, facts: Sequence[AnyFact]) -> Revision:
        """Fail."""
        message = f"cannot write {len(facts)} facts"
        raise DriverError(message)

    async def check(self, spec: CheckSpec) -> Observed:
        """Fail."""
        raise DriverError(spec.subject)

    async def close(self) -> None:
        """Remember."""
        BrokenDriver.closed = True


async def test_a_driver_that_fails_is_an_error_and_is_closed(tmp_path: Path) -> None:
    """The run goes on with the next story."""
    path = write(tmp_path, f"- {ASK}\n  expect: allow\n")
    results = await run_scenarios([path], ScenarioFilter(), BrokenDriver)
    assert [failure.error for failure in results.results[0].failures] == ["cannot write 4 facts"]
    assert BrokenDriver.closed


async def test_an_unreadable_file_is_part_of_the_results(tmp_path: Path) -> None:
    """The others are told nevertheless."""
    (tmp_path / "bad.scenario.yaml").write_text("scenario: [")
    write(tmp_path, f"- {ASK}\n  expect: allow\n")
    results = await run(tmp_path)
    assert [(result.name, result.passed) for result in results.results] == [
        ("a story", True),
        ("bad.scenario.yaml", False),
    ]


async def test_no_scenario_at_all_is_no_success(tmp_path: Path) -> None:
    """A wrong path must not look like passing tests."""
    results = await run(tmp_path)
    assert (results.passed, results_text(results)) == (False, "no scenarios were found\n")


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [("", ["one", "two"]), ("tw", ["two"]), ("^one$", ["one"]), ("two.scenario", ["two"]), ("(", []), ("x", [])],
)
async def test_the_filter_selects_by_name_or_file(tmp_path: Path, filter_: str, expected: list[str]) -> None:
    """By regular expression; text that is none stands for itself."""
    for name in ("one", "two"):
        write(tmp_path, "- advance: 1m\n", name)
    assert [result.name for result in (await run(tmp_path, filter_=filter_)).results] == expected


async def test_junit_tells_failures_from_errors(tmp_path: Path) -> None:
    """And is well-formed whatever a story is called."""
    write(tmp_path, f"- {ASK}\n  expect: allow\n", "fine")
    write(tmp_path, f"- {ASK}\n  expect: deny\n", '"<wrong> & \\a"')
    (tmp_path / "unreadable.scenario.yaml").write_text("scenario: [")
    root = ET.fromstring(junit_xml(await run(tmp_path)))  # noqa: S314  # our own text
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"<wrong> & \ufffd": ["failure"], "fine": [], "unreadable.scenario.yaml": ["error"]}
