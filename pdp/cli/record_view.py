"""One record as people read it: everything it says, each id with what it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from pdp.cli.decision_view import ALLOW, DENY, FAINT, rows

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pdp.cli.journal_view import Record

_LABELS: Mapping[str, str] = {
    "decision_id": "decision",
    "identity_id": "identity",
    "session_id": "session",
    "task_id": "task",
    "approval_id": "approval",
    "entitlement_id": "entitlement",
    "trace_id": "trace",
    "span_id": "span",
    "parent_span_id": "parent span",
}
_ENDS = ("prev", "hash")
"""Last, for they are long and seldom looked at."""
_LED = ("kind", "seq", "outcome", "reasons", "v")
"""Told first, or not at all."""
_GOOD = ("allow", "permitted")


def record_view(record: Record) -> RenderableType:
    """Return a record: what it is, then each member below the other."""
    outcome = str(record.get("outcome", ""))
    style = "cyan" if not outcome else ALLOW if outcome in _GOOD else DENY
    head = Text.assemble(
        (f"{record.get('kind')} {outcome}".replace("_", " ").strip(), style), f"  record {record['seq']}"
    )
    ordered = [name for name in record if name not in (*_LED, *_ENDS)] + [name for name in _ENDS if name in record]
    pairs = [*_reasons(record), *(pair for name in ordered for pair in _pairs(name, record[name]))]
    return Group(head, rows(iter(pairs)))


def _reasons(record: Record) -> Iterator[tuple[str, RenderableType]]:
    reasons = record.get("reasons")
    for reason in reasons if isinstance(reasons, list) else []:
        said = reason if isinstance(reason, dict) else {}
        about = f"  ({said['subject_of_reason']})" if said.get("subject_of_reason") else ""
        by = f"  by revocation {said['revocation_id']}" if said.get("revocation_id") else ""
        message = f"  {said['message']}" if said.get("message") else ""
        yield "because", Text.assemble(str(said.get("code", "?")), message, (about + by, FAINT))


def _pairs(name: str, value: object) -> Iterator[tuple[str, RenderableType]]:
    label = _LABELS.get(name, name.replace("_", " "))
    if name == "request" and isinstance(value, dict):
        for member, said in value.items():
            yield f"asked {_LABELS.get(member, member.replace('_', ' '))}", Text(_text(said))
    elif name == "changes" and isinstance(value, list):
        for change in value:
            said = change if isinstance(change, dict) else {}
            fact = f"  {_text(said['fact'])}" if "fact" in said else ""
            yield "fact", Text.assemble(f"{said.get('op')} {said.get('kind')}:{said.get('id')}", (fact, FAINT))
    else:
        yield label, Text(_text(value))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False)
