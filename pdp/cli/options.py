"""Options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

CONNECTION = "where to ask"
OUTPUT = "output"
CHANGE = "how to change it"

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for machines.", rich_help_panel=OUTPUT)]
OptionalDataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Data directory of the sidecar, which has its sockets. By default `./data`.",
        metavar="DIR",
        rich_help_panel=CONNECTION,
    ),
]
DataDir: TypeAlias = Annotated[Path, typer.Option("--data-dir", help="Data directory of the sidecar.", metavar="DIR")]
Timeout: TypeAlias = Annotated[
    float,
    typer.Option("--timeout", help="Seconds to wait for an answer.", rich_help_panel=CONNECTION, metavar="SECONDS"),
]


def _file(option: str, help_: str) -> object:
    return typer.Option(option, help=help_, metavar="FILE", rich_help_panel=CONNECTION, show_default=False)


Ca: TypeAlias = Annotated[Path | None, _file("--ca", "Authority that the sidecar's certificate is from, for mTLS.")]
Certificate: TypeAlias = Annotated[Path | None, _file("--cert", "Certificate to show, for mTLS.")]
Key: TypeAlias = Annotated[Path | None, _file("--key", "Its private key.")]
TokenFile: TypeAlias = Annotated[
    Path | None,
    _file(
        "--token-file",
        "File with the bearer token that says who you are. Without it: the variable `PDP_ADMIN_TOKEN`, which is the "
        "token itself.",
    ),
]
