"""Decisions computed again, as people and machines read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, DENY, DOUBT, FAINT, rows
from pdp.evidence.replay.replaying import Agrees, Differs, Replayed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from pdp.evidence.replay.recorded import RecordedDecision
    from pdp.evidence.replay.what_if import Changed, WhatIf


def replay_view(replayed: Replayed) -> RenderableType:
    """Return whether the answer is the same; if not, both."""
    recorded = replayed.recorded
    if isinstance(replayed, Agrees):
        told = rows(_told(recorded))
        return Group(Text("agrees", style=ALLOW), told)
    if isinstance(replayed, Differs):
        return Group(Text("DIFFERS: computed again, the answer is another", style=DENY), _beside(replayed))
    return Group(Text(f"not computed: {replayed.why}", style=DOUBT), rows(_told(recorded)))


def _told(recorded: RecordedDecision) -> Iterator[tuple[str, Text]]:
    asked = recorded.request
    yield "decision", Text(recorded.decision_id)
    yield "request", Text(f"{asked.subject} {asked.action} {asked.resource}")
    yield "answer", Text(f"{recorded.outcome} {recorded.code}")
    end = recorded.valid_until or recorded.reconsider_at
    if end:
        yield "until", Text(end)
    yield "state", Text(f"revision {recorded.revision}, policies {recorded.policy_version or 'unknown'}")
    yield "at", Text(recorded.evaluated_at)


def _beside(differs: Differs) -> Table:
    table = Table(box=None, padding=(0, 2), header_style=FAINT)
    for heading in ("", "recorded", "computed"):
        table.add_column(heading, overflow="fold")
    for name in differs.members:
        told = (_text(getattr(one, name)) for one in (differs.recorded, differs.computed))
        table.add_row(name, *told)
    return table


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def what_if_json(found: WhatIf, version: str) -> dict[str, object]:
    """Return what would change under the candidate of this version."""
    changes = [
        {"before": before, "after": after, "count": count} for (before, after), count in found.changes.most_common()
    ]
    return {
        "policy_version": version,
        "decided": found.decided,
        "changed": found.changes.total(),
        "changes": changes,
        "examples": [_example(one) for one in found.examples],
        "not_computed": dict(found.not_computed.most_common()),
    }


def what_if_view(found: WhatIf, version: str) -> RenderableType:
    """Return what would change, most frequent first, with examples."""
    total = found.changes.total()
    head = f"{total} of {found.decided} decisions would be others under policies {version}"
    parts: list[RenderableType] = [Text(head, style=DENY if total else ALLOW)]
    if total:
        counts = Table.grid(padding=(0, 2))
        for (before, after), count in found.changes.most_common():
            counts.add_row(str(count), f"{before} -> {after}")
        parts += [counts, Text("for example", style=FAINT), _examples(found)]
    parts += [Text(f"{count} not computed: {why}", style=DOUBT) for why, count in found.not_computed.most_common()]
    return Group(*parts)


def _examples(found: WhatIf) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for one in found.examples:
        asked = one.recorded.request
        why = f"{one.code}: {one.message}" if one.message else one.code.value
        table.add_row(one.recorded.decision_id, f"{asked.subject} {asked.action} {asked.resource}", why)
    return table


def _example(one: Changed) -> dict[str, object]:
    recorded = one.recorded
    return {
        "decision_id": recorded.decision_id,
        "at": recorded.evaluated_at,
        "subject": recorded.request.subject,
        "action": recorded.request.action,
        "resource": recorded.request.resource,
        "session_id": recorded.session_id,
        "before": recorded.code,
        "after": one.code.value,
        "message": one.message,
    }
