"""Which journal a command reads, and of which time."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from pdp.core.model import Instant

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMES = "say `7d` for seven days ago, or a time like `2026-03-01T09:00:00Z`; a date like `2026-03-01` is midnight UTC"


def journal_in(data_dir: Path) -> Path:
    """Return the directory of the journal; raise CommandError if there is none."""
    directory = data_dir / "journal"
    if not directory.is_dir():
        message = f"there is no journal in `{data_dir}`"
        raise CommandError(message, hint="`--data-dir` says where the sidecar keeps its data")
    return directory


def past_instant(option: str, text: str | None) -> Instant | None:
    """Return an instant, given as such, as a date, or as how long ago it was; raise CommandError for other text."""
    from pdp.core.model import Instant
    from pdp.state.fields import parse_duration, parse_instant

    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            return parse_instant(f"{text}T00:00:00Z")
        return parse_instant(text) if "T" in text else Instant(time.time_ns() - parse_duration(text))
    except ValueError as error:
        message = f"`{option}`: {error}" if "T" in text else f"`{option}`: `{text}` is neither a time nor how long ago"
        raise CommandError(message, hint=_TIMES) from None


def past_period(since: str | None, until: str | None) -> tuple[Instant | None, Instant | None]:
    """Return what `--since` and `--until` say; raise CommandError also where nothing can lie between them."""
    begin, end = past_instant("--since", since), past_instant("--until", until)
    if begin is not None and end is not None and end <= begin:
        message = f"`--until {until}` is not after `--since {since}`"
        raise CommandError(message)
    return begin, end
