"""Several facts of a kind below each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import DENY, FAINT
from pdp.cli.fact_view import field_text, moment_of
from pdp.cli.times import until_text
from pdp.core.model import AnyFact, FactKind, Identity, Instant, Revocation

if TYPE_CHECKING:
    from rich.console import RenderableType


def listing(*headings: str) -> Table:
    """Return a table without lines, to add rows to."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


_COLUMNS: Mapping[FactKind, Sequence[str]] = {
    FactKind.IDENTITY: ("kind", "state", "owner"),
    FactKind.ENTITLEMENT: ("identity", "actions", "resources", "certified_until"),
    FactKind.APPROVAL: ("state", "identity", "ticket", "requested_by", "expires_at"),
    FactKind.TASK: ("state", "owner", "parent"),
    FactKind.SESSION: ("state", "identity", "task", "opened_by", "expires_at"),
}
"""The fields by which one fact is told from others of its kind."""


def facts_view(kind: FactKind, facts: Sequence[AnyFact]) -> RenderableType:
    """Return facts of a kind, a line each."""
    if not facts:
        return Text(f"there is no such {kind}")
    names = _COLUMNS[kind]
    table = listing(kind, *(name.replace("_", " ") for name in names))
    for fact in facts:
        table.add_row(Text(fact.id), *(Text(field_text(fact, name)) for name in names))
    return table


def identities_view(identities: Sequence[AnyFact]) -> RenderableType:
    """Return identities that nobody answers for."""
    if not identities:
        return Text("every identity has an owner")
    table = listing("identity", "kind", "state", "owner until now")
    for one in identities:
        if isinstance(one, Identity):
            table.add_row(Text(one.id), one.kind, one.state, Text(one.owner or "nobody"))
    return table


def revocations_view(revocations: Sequence[AnyFact]) -> RenderableType:
    """Return revocations: whether they override, what, why and by whom."""
    if not revocations:
        return Text("nothing is revoked")
    table = listing("revocation", "", "target", "from", "reason", "by")
    now = datetime.now(UTC)
    for one in revocations:
        if isinstance(one, Revocation):
            state, style = revocation_state(one, now)
            table.add_row(
                Text(one.id),
                Text(state, style=style),
                Text(f"{one.target} {one.target_id}"),
                until_text(moment_of(one.effective_at), now),
                Text(one.reason),
                Text(one.revoked_by),
            )
    return table


def revocation_state(revocation: Revocation, now: datetime) -> tuple[str, str]:
    """Return whether a revocation overrides by this machine's clock, and how that looks."""
    instant = Instant(int(now.timestamp() * 1_000_000) * 1000)
    if revocation.in_force(instant):
        return "in force", DENY
    return ("scheduled", "yellow") if instant < revocation.effective_at else ("over", FAINT)
