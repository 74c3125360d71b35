"""Which journal a command reads, and of which time."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from pdp.core.model import Instant


def journal_in(data_dir: Path) -> Path:
    """Return the directory of the journal; raise CommandError if there is none."""
    directory = data_dir / "journal"
    if not directory.is_dir():
        message = f"there is no journal in `{data_dir}`"
        raise CommandError(message, hint="`--data-dir` says where the sidecar keeps its data")
    return directory


def past_instant(option: str, text: str) -> Instant | None:
    """Return an instant, given as such or as how long ago it was; None for no text; raise CommandError for others."""
    from pdp.core.model import Instant
    from pdp.state.fields import parse_duration, parse_instant

    if not text:
        return None
    try:
        return parse_instant(text) if "T" in text else Instant(time.time_ns() - parse_duration(text))
    except ValueError as error:
        message = f"`{option}`: {error}"
        raise CommandError(message, hint="say `7d` for seven days ago, or a time like `2026-03-01T09:00:00Z`") from None
