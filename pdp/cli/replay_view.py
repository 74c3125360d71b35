"""Decisions computed again, as people and machines read them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, DENY, DOUBT, FAINT, rows
from pdp.core.reasons import Code
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


_GRANTS = (Code.GRANTED, Code.GRANTED_BREAK_GLASS)


def _outcome(code: str) -> str:
    return "allow" if code in _GRANTS else "deny"


def _outcomes(found: WhatIf) -> Counter[tuple[str, str]]:
    """Return how many would change, by outcome before and after: access lost and won are not another reason."""
    outcomes = Counter[tuple[str, str]]()
    for (before, after), count in found.changes.items():
        outcomes[_outcome(before), _outcome(after)] += count
    return outcomes


def what_if_json(found: WhatIf, version: str) -> dict[str, object]:
    """Return what would change under the candidate of this version."""
    changes = [
        {"before": before, "after": after, "count": count} for (before, after), count in found.changes.most_common()
    ]
    outcomes = _outcomes(found)
    return {
        "policy_version": version,
        "decided": found.decided,
        "changed": found.changes.total(),
        "allowed_would_be_denied": outcomes["allow", "deny"],
        "denied_would_be_allowed": outcomes["deny", "allow"],
        "denied_for_another_reason": outcomes["deny", "deny"],
        "allowed_for_another_reason": outcomes["allow", "allow"],
        "changes": changes,
        "examples": [_example(one) for one in found.examples],
        "not_computed": dict(found.not_computed.most_common()),
    }


def what_if_view(found: WhatIf, version: str) -> RenderableType:
    """Return what would change, most frequent first, with examples."""
    total = found.changes.total()
    head = f"{total} of {found.decided} decisions would be others under policies {version}"
    parts: list[RenderableType] = [Text(head, style=DENY if total else ALLOW if found.decided else DOUBT)]
    if total:
        counts = Table.grid(padding=(0, 2))
        for (before, after), count in found.changes.most_common():
            counts.add_row(str(count), f"{before} -> {after}")
        parts += [Text(_said_by_outcome(found)), counts, Text("for example", style=FAINT), _examples(found)]
    parts += [Text(f"{count} not computed: {why}", style=DOUBT) for why, count in found.not_computed.most_common()]
    return Group(*parts)


def _said_by_outcome(found: WhatIf) -> str:
    outcomes = _outcomes(found)
    said = [
        f"{outcomes['allow', 'deny']} allowed would be denied",
        f"{outcomes['deny', 'allow']} denied would be allowed",
        f"{outcomes['deny', 'deny']} would be denied for another reason",
    ]
    if outcomes["allow", "allow"]:
        said.append(f"{outcomes['allow', 'allow']} would be allowed for another reason")
    return ", ".join(said)


def _examples(found: WhatIf) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(overflow="fold")
    for one in found.examples:
        asked = one.recorded.request
        before, why = one.recorded.code, f": {one.message}" if one.message else ""
        change = f"{_outcome(before)} {before} -> {_outcome(one.code)} {one.code}{why}"
        table.add_row(one.recorded.decision_id, f"{asked.subject} {asked.action} {asked.resource}", change)
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
        "before_outcome": recorded.outcome,
        "before": recorded.code,
        "after_outcome": _outcome(one.code),
        "after": one.code.value,
        "message": one.message,
    }
