"""What a sidecar says when it serves, and which versions it is made of."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pdp.cli.connections import DEFAULT_DATA_DIR
from pdp.cli.decision_view import ALLOW, FAINT, rows
from pdp.settings import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType

PROTOCOL = "sessionpdp.v1"


def ready_view(settings: Settings, *, with_config: bool) -> RenderableType:
    """Return where the sidecar listens and what to do next."""
    return Group(
        Text.assemble(("ready", ALLOW)),
        rows(_places(settings)),
        Text(),
        Text("next, in another terminal:", style=FAINT),
        _next_steps(_where(settings, with_config=with_config)),
    )


def _places(settings: Settings) -> Iterator[tuple[str, RenderableType]]:
    yield "decisions", Text(settings.decision_address())
    yield "administration", Text(settings.administration_address())
    yield "data", Text(settings.data_dir)
    yield "policies", Text(", ".join(settings.policies) or "the baseline alone; add some with `--policies DIR`")


def _where(settings: Settings, *, with_config: bool) -> str:
    """Return the options by which other commands find this sidecar."""
    named = settings.decisions.address or settings.administration.address
    if with_config and named:
        return f" --target {settings.decision_address()}"
    return "" if settings.data_dir == str(DEFAULT_DATA_DIR) else f" --data-dir {settings.data_dir}"


def _next_steps(where: str) -> Table:
    steps = {
        "  give it facts": f"pdp import{where.replace('--target', '--admin')} facts.yaml",
        "  ask it": f"pdp check{where} --subject … --action … --resource … --session …",
        "  test policies": "pdp test policies/",
    }
    return rows((purpose, Text(command)) for purpose, command in steps.items())


def versions() -> Mapping[str, str]:
    """Return the version of each part."""
    return {
        "server": version("sessionpdp-server"),
        "client": version("sessionpdp"),
        "protocol": PROTOCOL,
        "grpc": version("grpcio"),
        "python": platform.python_version(),
    }


def versions_view() -> Table:
    """Return the versions below each other."""
    return rows((name, Text(value)) for name, value in versions().items())
