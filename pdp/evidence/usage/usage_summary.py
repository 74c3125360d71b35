"""What was used of a session, approval or entitlement, as far as it is told apart: what reviews decide on."""

from __future__ import annotations

from msgspec import Struct

from pdp.core.model import Instant


class UseCount(Struct, frozen=True, gc=False):
    """How often one action was done to one resource, and when last."""

    action: str
    resource: str
    count: int
    last: Instant


class UsageSummary(Struct, frozen=True, gc=False):
    """All uses of one session, approval or entitlement."""

    count: int = 0
    first: Instant | None = None
    """None: never used."""
    last: Instant | None = None
    uses: tuple[UseCount, ...] = ()
    """By action and resource, the most used first."""
    truncated: bool = False
    """Whether more was used than `uses` tells apart; `count`, `first` and `last` hold nevertheless."""


UNUSED = UsageSummary()
