"""Results of scenarios as people and machines read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, DENY, FAINT, quoted
from pdp.scenarios.report import summary_text
from pdp.scenarios.runner import Results, ScenarioResult
from pdp.scenarios.telling import Failure

if TYPE_CHECKING:
    from rich.console import RenderableType


def unreadable(results: Results) -> bool:
    """Whether a file could not be told at all."""
    return any(result.problems for result in results.results)


def results_json(results: Results) -> dict[str, object]:
    """Return every scenario with what differed."""
    return {
        "passed": results.passed,
        "scenarios": [
            {
                "name": result.name,
                "file": result.source,
                "passed": result.passed,
                "steps": result.steps,
                "seconds": round(result.seconds, 6),
                "failures": [_failure_json(failure) for failure in result.failures],
                "problems": [str(problem) for problem in result.problems],
            }
            for result in results.results
        ],
    }


def _failure_json(failure: Failure) -> dict[str, object]:
    return {
        "line": failure.line,
        "step": failure.step,
        "error": failure.error,
        "differences": [one._asdict() for one in failure.differences],
        "reasons": list(failure.reasons),
        "remedy": failure.remedy,
    }


def results_view(results: Results) -> RenderableType:
    """Return a line for each scenario, what differed where one failed, and a summary."""
    summary = Text(summary_text(results), style=ALLOW if results.passed else DENY)
    parts = [part for result in results.results for part in _result(result)]
    return Group(*parts, *([Text()] if parts else []), summary)


def _result(result: ScenarioResult) -> Iterator[RenderableType]:
    if result.passed:
        steps = f"{result.steps} step{'s' if result.steps != 1 else ''}"
        yield Text.assemble(("passed  ", ALLOW), result.name, (f"  {steps}", FAINT))
        return
    yield Text.assemble(("failed  ", DENY), (result.name, "bold"))
    for failure in result.failures:
        yield Padding(_failure(failure, result.source), (0, 0, 0, 2))
    for problem in result.problems:
        yield Padding(quoted(str(problem)), (0, 0, 0, 2))


def _failure(failure: Failure, source: str) -> RenderableType:
    parts: list[RenderableType] = [Text.assemble((f"{source}:{failure.line}", "cyan")), Text(failure.step)]
    if failure.error:
        parts.append(Text.assemble(("error  ", DENY), quoted(failure.error)))
    if failure.differences:
        parts.append(Padding(_differences(failure), (0, 0, 0, 2)))
    if failure.reasons:
        parts.append(Padding(_reasons(failure), (0, 0, 0, 2)))
    return Group(*parts)


def _differences(failure: Failure) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style=FAINT)
    table.add_column(overflow="fold")
    for one in failure.differences:
        table.add_row(one.field, "expected", Text(one.expected, style="green"))
        table.add_row("", "actual", Text(one.actual, style="red"))
    return table


def _reasons(failure: Failure) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=FAINT)
    table.add_column(overflow="fold")
    for number, reason in enumerate(failure.reasons):
        table.add_row("because" if number == 0 else "and", quoted(reason))
    if failure.remedy:
        table.add_row("remedy", quoted(failure.remedy))
    return table
