"""How something was used, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import FAINT
from pdp.cli.fact_view import instant_and_distance
from pdp.core.model import Instant

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp
    from rich.console import RenderableType
    from sessionpdp.v1.governance_pb2 import Usage

_USES_SHOWN = 10


def usage_text(usage: Usage) -> str:
    """Return how often something was used, and when last."""
    if not usage.count:
        return "never"
    return f"{times_text(usage.count)}, last {stamp_text(usage.last)}"


def usage_view(usage: Usage) -> RenderableType:
    """Return the same, and what was used most."""
    parts: list[RenderableType] = [Text(usage_text(usage))]
    if usage.uses:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right")
        for one in usage.uses[:_USES_SHOWN]:
            table.add_row(times_text(one.count), Text(one.action), Text(one.resource))
        parts.append(table)
    hidden = len(usage.uses) - _USES_SHOWN
    if usage.truncated or hidden > 0:
        parts.append(Text("and more" if usage.truncated else f"and {hidden} more", style=FAINT))
    return Group(*parts)


def times_text(count: int) -> str:
    """Return how often."""
    return "once" if count == 1 else f"{count} times"


def stamp_text(stamp: Timestamp) -> str:
    """Return a time of a message, and how far away it is by this machine's clock."""
    return instant_and_distance(Instant(stamp.ToNanoseconds()))
