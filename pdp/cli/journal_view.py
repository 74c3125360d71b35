"""Records of the journal as people read them, and what became of checking it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, DENY, FAINT, rows

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pdp.core.model import Attribute
    from pdp.evidence.seals.verifying import Broken, Verification, Verified

Record: TypeAlias = "Mapping[str, Attribute]"
"""A line of the journal, as docs/evidence.md describes it."""
_ONLY_A_FEW = 3
_SEQUENCE_WIDTH = 6


def record_line(record: Record) -> Table:
    """Return a record as one line, folded beside its time: when, what, and about whom."""
    tell = _TELLERS.get(str(record.get("kind")), _event)
    table = Table.grid(padding=(0, 2))
    table.add_column(width=_SEQUENCE_WIDTH, justify="right", style=FAINT)
    table.add_column(no_wrap=True, style=FAINT)
    table.add_column(overflow="fold")
    table.add_row(str(record.get("seq", "?")), f"{str(record.get('time', ''))[:19]}Z", tell(record))
    return table


def _decision(record: Record) -> Text:
    request, reasons = _mapping(record.get("request")), record.get("reasons")
    code = _mapping(reasons[0]).get("code", "?") if isinstance(reasons, list) and reasons else "?"
    outcome = str(record.get("outcome", "?"))
    asked = " ".join(str(request.get(name, "")) for name in ("subject", "action", "resource"))
    style = ALLOW if outcome == "allow" else DENY
    method = "" if record.get("method") == "Check" else f"  ({record.get('method')})"
    return Text.assemble((f"{outcome:<6}  {code}", style), f"  {asked}", (method, FAINT))


def _change(record: Record) -> Text:
    changes = record.get("changes")
    several = [_mapping(change) for change in changes] if isinstance(changes, list) else []
    shown = ", ".join(f"{one.get('op')} {one.get('kind')}:{one.get('id')}" for one in several[:_ONLY_A_FEW])
    more = f" and {len(several) - _ONLY_A_FEW} more" if len(several) > _ONLY_A_FEW else ""
    how = f"  {record['method']}" if record.get("method") else ""
    who = f" by {record['actor']}" if record.get("actor") else ""
    why = f"  ({record['reason']})" if record.get("reason") else ""
    return Text.assemble(
        (f"{'change':<6}  revision {record.get('revision')}", "cyan"), f"  {shown}{more}{how}{who}", (why, FAINT)
    )


def _administration(record: Record) -> Text:
    outcome = str(record.get("outcome", "?"))
    style = ALLOW if outcome == "permitted" else DENY
    who = record.get("actor") or "nobody known"
    why = "".join(f"  {record[member]}" for member in ("rule", "message") if record.get(member))
    return Text.assemble(
        (f"{'admin':<6}  {outcome.replace('_', ' ')}", style), f"  {record.get('method')} by {who}", (why, FAINT)
    )


def _lapse(record: Record) -> Text:
    what = str(record.get("what", "?")).replace("_", " ")
    whose = f"  of {record['identity_id']}" if record.get("identity_id") else ""
    when = f"  (at {str(record.get('ended_at', ''))[:19]}Z)"
    return Text.assemble((f"{'lapse':<6}  {what}", "yellow"), f"  {record.get('about')}{whose}", (when, FAINT))


def _event(record: Record) -> Text:
    attributes = _mapping(record.get("attributes"))
    said = " ".join(f"{name}={value}" for name, value in attributes.items())
    name = str(record.get("name", record.get("kind", "?"))).replace("_", " ")
    return Text.assemble((f"{'event':<6}  {name}", "magenta"), f"  {said}")


_TELLERS = {"decision": _decision, "change": _change, "administration": _administration, "lapse": _lapse}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def verification_json(outcome: Verification) -> dict[str, object]:
    """Return what was found."""
    if isinstance(outcome, list):
        return {"intact": False, "broken": [_place_json(place) for place in outcome]}
    return {
        "intact": True,
        "records": outcome.records,
        "segments": outcome.segments,
        "first_sequence": outcome.first_sequence,
        "last_hash": outcome.last_hash,
        "seals": outcome.seals,
        "sealed_until": outcome.sealed_until,
        "removed_until": outcome.removed_until,
        "key": outcome.key,
    }


def _place_json(place: Broken) -> dict[str, object]:
    return {"segment": place.segment, "line": place.line, "sequence": place.sequence, "what": place.what}


def verification_view(outcome: Verification) -> RenderableType:
    """Return whether the journal is intact, and if not, every place where it is not."""
    if isinstance(outcome, list):
        return _broken(outcome)
    table = rows(
        iter(
            [
                ("records", Text(_range(outcome.first_sequence, outcome.records))),
                ("segments", Text(str(outcome.segments))),
                ("last hash", Text(outcome.last_hash)),
                ("sealed", Text(_sealed(outcome))),
            ]
        )
    )
    return Group(Text("intact", style=ALLOW), table)


def _sealed(verified: Verified) -> str:
    """Return what signatures vouch for."""
    if not verified.key:
        return "no: there is no key, so that whoever can write here can have written all of it"
    removed = f"; up to {verified.removed_until} removed, as a seal says" if verified.removed_until else ""
    seals = f"{verified.seals} segment{'s' if verified.seals != 1 else ''} and the head"
    return f"up to record {verified.sealed_until} ({seals}), by key {verified.key}{removed}"


def _range(first: int, count: int) -> str:
    return f"{count}, from {first} to {first + count - 1}" if count else "none yet"


def _broken(places: Sequence[Broken]) -> RenderableType:
    count = f"{len(places)} place{'s' if len(places) != 1 else ''}"
    lines = [Text(f"{place.segment}:{place.line}: record {place.sequence or '?'}: {place.what}") for place in places]
    return Group(Text(f"broken in {count}", style=DENY), *lines)
