"""Commands that run a sidecar, and say which one this is."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.connections import DEFAULT_DATA_DIR
from pdp.cli.helping import help_text
from pdp.cli.options import Json
from pdp.cli.terminal import remark, show, show_json
from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from pdp.app import Sidecar
    from pdp.settings import Settings
    from pdp.state.document import Problem


_SERVE_HELP = help_text(
    "Run a sidecar until SIGTERM, SIGINT or SIGHUP; then it lets what is under way finish.",
    "Without configuration it keeps everything in `./data` and listens on two Unix sockets there: one for "
    "decisions, one for administration. Log lines go to standard output, as JSON unless that is a terminal.",
    examples=["pdp serve --policies policies/", "pdp serve --config pdp.yaml"],
    exits="0 stopped, 2 error",
)


def serve(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Where database, journal and sockets are. By default `./data`.", metavar="DIR"),
    ] = None,
    policies: Annotated[
        list[Path] | None,
        typer.Option(
            "--policies", help="Directory of policies; may be given several times.", metavar="DIR", show_default=False
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Configuration file; says all of the above instead.", metavar="FILE", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Log JSON lines, also to a terminal, and no words of welcome.")
    ] = False,
) -> None:
    """Run a sidecar."""
    settings = _settings(config, data_dir, policies or [])

    from pdp.app import serve as serve_sidecar
    from pdp.cli.logs import logging_to_output
    from pdp.cli.serve_view import ready_view

    def ready(sidecar: Sidecar) -> None:
        if not as_json:
            remark(ready_view(sidecar.settings, with_config=config is not None))

    with logging_to_output(as_json=as_json or not sys.stdout.isatty()):
        _run(serve_sidecar(settings, ready=ready))


_VERSION_HELP = help_text("Print the versions of server, client and protocol.", examples=["pdp version"], exits="0")


def version(*, as_json: Json = False) -> None:
    """Print versions."""
    from pdp.cli.serve_view import versions, versions_view

    if as_json:
        show_json(dict(versions()))
    else:
        show(versions_view())


def _settings(config: Path | None, data_dir: Path | None, policies: list[Path]) -> Settings:
    """Return what was configured; raise CommandError with every problem."""
    from pdp.settings import Settings, check, load
    from pdp.state.document import DocumentError

    if config is not None and (data_dir is not None or policies):
        message = "`--config` says everything: leave out `--data-dir` and `--policies`"
        raise CommandError(message)
    try:
        if config is not None:
            return load(config)
        directory = str(data_dir or DEFAULT_DATA_DIR)
        return check(Settings(data_dir=directory, policies=[str(each) for each in policies]))
    except DocumentError as error:
        raise CommandError(*(_said(problem, config) for problem in error.problems)) from error
    except OSError as error:
        message = f"cannot read `{config}`: {(error.strerror or str(error)).lower()}"
        raise CommandError(message) from error


def _said(problem: Problem, config: Path | None) -> str:
    """Return a problem with its place in the file; without a file, what it is about is an option."""
    return str(problem) if config is not None else f"{problem.path}: {problem.message}"


def _run(serving: Coroutine[None, None, None]) -> None:
    """Serve until told to stop; what keeps a sidecar from serving becomes CommandError."""
    import asyncio

    from pdp.evidence.trouble import EvidenceError
    from pdp.state.document import DocumentError
    from pdp.state.store import StoreError

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serving)
    except DocumentError as error:
        raise CommandError(*map(str, error.problems)) from error
    except (StoreError, EvidenceError, OSError) as error:
        raise CommandError(str(error)) from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's, which answers 40 % more calls a second, where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    panel = "Run"
    app.command("serve", help=_SERVE_HELP, rich_help_panel=panel)(serve)
    app.command("version", help=_VERSION_HELP, rich_help_panel=panel)(version)
