"""Commands that judge policies before they are in force."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pdp.cli.helping import help_text
from pdp.cli.options import OUTPUT, Json
from pdp.cli.terminal import show, show_json
from pdp.cli.trouble import EXIT_ERROR, CommandError

_TEST_HELP = help_text(
    "Run scenarios: stories with facts, time and expected decisions, that policies are tested with.",
    "Needs no sidecar. In directories, files named `*scenario*.yaml` are taken.",
    examples=["pdp test policies/", "pdp test policies/ --filter release --junit report.xml"],
    exits="0 all passed, 1 a scenario failed, 2 error, also when a file cannot be read or there is none",
)


def _none_found(paths: Sequence[Path], filter_: str) -> CommandError:
    selected = f" that `{filter_}` selects" if filter_ else ""
    return CommandError(f"no scenarios were found in {', '.join(f'`{path}`' for path in paths)}{selected}")


def run_tests(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Scenario files, or directories that have some.", metavar="PATH", show_default=False),
    ],
    *,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter", help="Only scenarios whose name or file has this.", metavar="REGEX", show_default=False
        ),
    ] = "",
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit", help="Also write a JUnit report.", metavar="FILE", rich_help_panel=OUTPUT, show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run scenarios."""
    import asyncio

    from pdp.cli.results_view import results_json, results_view, unreadable
    from pdp.scenarios.core_driver import CoreDriver
    from pdp.scenarios.report import junit_xml
    from pdp.scenarios.runner import ScenarioFilter, run_scenarios

    _exist(paths)
    results = asyncio.run(run_scenarios(paths, ScenarioFilter(filter_), CoreDriver))
    if junit is not None:
        _write(junit, junit_xml(results))
    if as_json:
        show_json(results_json(results))
    elif results.results:
        show(results_view(results))
    if not results.results:
        raise _none_found(paths, filter_)
    raise typer.Exit(EXIT_ERROR if unreadable(results) else int(not results.passed))


_POLICY_CHECK_HELP = help_text(
    "Read and compile policies as the sidecar would, and say every problem as file:line:column.",
    examples=["pdp policy check policies/"],
    exits="0 good, 1 problems, 2 error",
)


def policy_check(
    directories: Annotated[
        list[Path],
        typer.Argument(help="Directories of policies, or single files.", metavar="DIR", show_default=False),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Compile policies."""
    from pdp.cli.policy_view import policies_json, policies_view, problems_json, problems_view
    from pdp.state.document import DocumentError
    from pdp.state.policy_files import load

    _exist(directories)
    try:
        policies = load(directories)
    except DocumentError as error:
        if as_json:
            show_json(problems_json(error.problems))
        else:
            show(problems_view(error.problems))
        raise typer.Exit(1) from None
    if as_json:
        show_json(policies_json(policies))
    else:
        show(policies_view(policies))


def _exist(paths: list[Path]) -> None:
    missing = [f"there is no `{path}`" for path in paths if not path.exists()]
    if missing:
        raise CommandError(*missing)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"cannot write `{path}`: {(error.strerror or str(error)).lower()}"
        raise CommandError(message) from None


def add_to(app: typer.Typer, policy: typer.Typer) -> None:
    """Add the commands."""
    app.command("test", help=_TEST_HELP, rich_help_panel="Judge policies")(run_tests)
    policy.command("check", help=_POLICY_CHECK_HELP)(policy_check)
