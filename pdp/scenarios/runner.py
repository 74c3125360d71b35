"""Finds scenario files, tells each story to a driver of its own, and gathers what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

from msgspec import Struct

from pdp.scenarios.driver import DriverFactory
from pdp.scenarios.reading import read_scenario
from pdp.scenarios.story import Scenario
from pdp.scenarios.telling import Failure, Telling
from pdp.state.document import DocumentError, Problem


class ScenarioResult(Struct, frozen=True, kw_only=True):
    """What came of one file."""

    name: str
    """The scenario's name; the file's, if it could not be read."""
    source: str
    steps: int = 0
    seconds: float = 0.0
    failures: tuple[Failure, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Why the file could not be told."""

    @property
    def passed(self) -> bool:
        """Whether every answer was as expected."""
        return not self.failures and not self.problems


class Results(Struct, frozen=True):
    """What came of all files, in their order."""

    results: tuple[ScenarioResult, ...]

    @property
    def passed(self) -> bool:
        """Whether there were scenarios, and all of them passed."""
        return bool(self.results) and all(result.passed for result in self.results)

    @property
    def failed(self) -> tuple[ScenarioResult, ...]:
        """Return those that did not pass."""
        return tuple(result for result in self.results if not result.passed)


class ScenarioFilter:
    """Selects scenarios by a regular expression, or plain text, in their name or file name."""

    def __init__(self, text: str = "") -> None:
        """Text that is no regular expression is looked for as it stands. Empty selects all."""
        try:
            self._pattern = re.compile(text)
        except re.error:
            self._pattern = re.compile(re.escape(text))

    def selects(self, name: str, source: str) -> bool:
        """Whether the name or the file name has it."""
        return self._pattern.search(name) is not None or self._pattern.search(source) is not None


def scenario_paths(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the scenario files among and below the paths, sorted; a file is taken whatever its name."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*scenario*.yaml")) if path.is_dir() else [path]
    return tuple(dict.fromkeys(found))


async def run_scenarios(paths: Sequence[Path], filter_: ScenarioFilter, driver_factory: DriverFactory) -> Results:
    """Tell every selected story. Never raises for what is wrong in a file; that is part of the results."""
    results = [
        told if isinstance(told, ScenarioResult) else await run_scenario(told, driver_factory)
        for told in read_scenarios(paths, filter_)
    ]
    return Results(tuple(results))


def read_scenarios(paths: Sequence[Path], filter_: ScenarioFilter) -> Iterator[Scenario | ScenarioResult]:
    """Yield the selected scenarios; for a file that cannot be read, the result that says why."""
    for path in scenario_paths(paths):
        try:
            scenario = read_scenario(path)
        except DocumentError as error:
            if filter_.selects("", str(path)):
                yield ScenarioResult(name=path.name, source=str(path), problems=error.problems)
        else:
            if filter_.selects(scenario.name, scenario.source):
                yield scenario


async def run_scenario(scenario: Scenario, driver_factory: DriverFactory) -> ScenarioResult:
    """Tell one story."""
    begin = perf_counter()
    failures = await Telling(scenario, driver_factory()).tell()
    return ScenarioResult(
        name=scenario.name,
        source=scenario.source,
        steps=len(scenario.steps),
        seconds=perf_counter() - begin,
        failures=failures,
    )
