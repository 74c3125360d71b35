"""Decisions and permissions as people and machines read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pdp.cli.times import exact_text, time_text, until_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sessionpdp import Decision, Permissions, Reason

ALLOW, DENY, DOUBT = "bold green", "bold red", "bold yellow"
FAINT = "dim"
_INDENT = 6
"""Width of `allow ` and `deny  `."""


def decision_json(decision: Decision) -> dict[str, object]:
    """Return a decision by the names of the contract; every member is always there."""
    return {
        "outcome": "allow" if decision.allowed else "deny",
        "decided": decision.decided,
        "code": decision.code,
        "reasons": [reason_json(reason) for reason in decision.reasons],
        "decision_id": decision.decision_id,
        "identity_id": decision.identity_id,
        "owner": decision.owner,
        "session_id": decision.session_id,
        "task_id": decision.task_id,
        "approval_id": decision.approval_id,
        "ticket": decision.ticket,
        "entitlement_id": decision.entitlement_id,
        "policies": list(decision.policies),
        "obligations": [{"type": one.type, "parameters": dict(one.parameters)} for one in decision.obligations],
        "revision": decision.revision,
        "policy_version": decision.policy_version,
        "evaluated_at": exact_text(decision.evaluated_at),
        "valid_until": exact_text(decision.valid_until),
        "trace_id": decision.trace_id,
    }


def reason_json(reason: Reason) -> dict[str, object]:
    """Return one reason."""
    return {"code": reason.code, "message": reason.message, "subject_of_reason": reason.subject_of_reason}


def permissions_json(permissions: Permissions) -> dict[str, object]:
    """Return what a session may do, by the names of the contract."""
    return {
        "permissions": [
            {"action": one.action, "resource": one.resource, "conditions": list(one.conditions)}
            for one in permissions.permissions
        ],
        "reasons": [reason_json(reason) for reason in permissions.reasons],
        "revision": permissions.revision,
        "policy_version": permissions.policy_version,
        "evaluated_at": exact_text(permissions.evaluated_at),
        "valid_until": exact_text(permissions.valid_until),
    }


def decision_view(decision: Decision) -> RenderableType:
    """Return the whole answer: outcome and why, what it rests on, until when, and where its evidence is."""
    return Group(*reasons_view(decision), Text(), _basis(decision), Text(), _evidence(decision))


def reasons_view(decision: Decision) -> Iterator[RenderableType]:
    """Yield the outcome with its first reason, then the others."""
    word, style = ("allow", ALLOW) if decision.allowed else ("deny", DENY)
    for number, reason in enumerate(decision.reasons):
        label = word if number == 0 else "also"
        yield Text.assemble((f"{label:<{_INDENT}}", style), (reason.code, style))
        yield Padding(quoted(reason.message), (0, 0, 0, _INDENT))


def quoted(message: str) -> Text:
    """Return a message with what stands in backticks set off."""
    text = Text(message)
    text.highlight_regex(r"`[^`]*`", "cyan")
    return text


def rows(pairs: Iterator[tuple[str, RenderableType]]) -> Table:
    """Return labels and values below each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=FAINT, no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in pairs:
        table.add_row(label, value)
    return table


def _basis(decision: Decision) -> Table:
    return rows(_named(_basis_of(decision)))


def _named(members: Mapping[str, str]) -> Iterator[tuple[str, RenderableType]]:
    for label, value in members.items():
        if value:
            yield label, Text(value)


def _basis_of(decision: Decision) -> Mapping[str, str]:
    ticket = f", ticket {decision.ticket}" if decision.ticket else ""
    return {
        "identity": decision.identity_id,
        "owner": decision.owner,
        "session": decision.session_id,
        "task": decision.task_id,
        "entitlement": decision.entitlement_id,
        "approval": decision.approval_id + ticket,
        "policies": ", ".join(decision.policies),
        "obligations": ", ".join(_obligations(decision)),
        "valid until": _until(decision),
    }


def _obligations(decision: Decision) -> Iterator[str]:
    for one in decision.obligations:
        yield f"{one.type} {json.dumps(one.parameters, ensure_ascii=False)}" if one.parameters else one.type


def _until(decision: Decision) -> str:
    if decision.valid_until is None:
        return ""
    # Counted from the sidecar's own clock, with which ours need not agree.
    return until_text(decision.valid_until, decision.evaluated_at or datetime.now(UTC))


def _evidence(decision: Decision) -> Text:
    decided = "" if decision.evaluated_at is None else time_text(decision.evaluated_at)
    lines = (
        f"decision {decision.decision_id}, {decided}",
        f"revision {decision.revision}, policies {decision.policy_version}, trace {decision.trace_id}",
    )
    return Text("\n".join(lines), style=FAINT)


def watch_line(decision: Decision, now: datetime) -> Table:
    """Return one change as one line, folded beside its time."""
    word, style = ("allow", ALLOW) if decision.allowed else ("deny", DENY)
    if not decision.decided:
        word, style = "doubt", DOUBT
    line = Text.assemble((f"{word:<{_INDENT}}{decision.code}", style), "  ")
    if decision.valid_until is not None and decision.evaluated_at is not None:
        line.append(f"until {until_text(decision.valid_until, decision.evaluated_at)}")
    else:
        line.append_text(quoted(decision.reasons[0].message))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=FAINT)
    table.add_column(overflow="fold")
    table.add_row(time_text(decision.evaluated_at or now), line)
    return table


def permissions_view(permissions: Permissions) -> RenderableType:
    """Return the pairs of action and resource, what is still asked for each, and until when they hold."""
    if not permissions.permissions:
        return Group(*_nothing(permissions))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    for heading in ("action", "resource", "still asked"):
        table.add_column(heading, overflow="fold")
    for one in permissions.permissions:
        table.add_row(Text(one.action, style="green"), Text(one.resource), Text("\n".join(one.conditions) or "nothing"))
    if permissions.valid_until is None:
        return table
    until = until_text(permissions.valid_until, permissions.evaluated_at or datetime.now(UTC))
    return Group(table, Text(), Text.assemble(("valid until  ", FAINT), until))


def _nothing(permissions: Permissions) -> Iterator[RenderableType]:
    yield Text("nothing is permitted", style=DENY)
    if not permissions.reasons:
        yield Text("scopes and policies leave no pair of action and resource; `pdp explain` says which of them")
    for reason in permissions.reasons:
        yield Text.assemble("  ", (reason.code, DENY))
        yield Padding(quoted(reason.message), (0, 0, 0, 4))
