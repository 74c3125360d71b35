"""Commands that run a sidecar, and say which one this is."""

# ruff: noqa: PLC0415 - typer reads annotations at run time; what loads slowly is loaded by the command that needs it

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.terminal import remark

if TYPE_CHECKING:

    from pdp.app import Sidecar


def serve(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Where database, journal and sockets are. By default `./data`."),
    ] = None,
    policies: Annotated[
        list[Path] | None,
        typer.Option("--policies", help="Directory of policies; may be given several times.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Configuration file; says all of the above instead.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Log JSON lines, also to a terminal, and no words of welcome.")
    ] = False,
) -> None:
    """Run a sidecar."""
    settings = _settings(config, data_dir, policies or [])

    from pdp.app import serve as serve_sidecar
    from pdp.cli.logs import set_up_logs
    from pdp.cli.serve_view import ready_view

    set_up_logs(as_json=as_json or not sys.stdout.isatty())

    def ready(sidecar: Sidecar) -> None:
        if not as_json:
            remark(ready_view(sidecar.settings, with_config=config is not None))

    _run(lambda loop_factory: _with_loop(loop_factory, serve_sidecar(settings, ready=ready)))
