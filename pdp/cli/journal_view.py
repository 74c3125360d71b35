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
    from pdp.evidence.seals.chain_check import Broken
    from pdp.evidence.seals.verifying import Verification, Verified

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
        "sealed": bool(outcome.key),
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


def verification_view(outcome: Verification, *, trusted: bool) -> RenderableType:
    """Return whether the journal is intact and sealed, and if it is not intact, every place where it is not.

    `trusted` says that its key was given, not found beside it.
    """
    if isinstance(outcome, list):
        return _broken(outcome)
    if outcome.unsealed:
        heading = Text("not sealed", style=DENY)
    else:
        heading = Text("intact" if outcome.key else "empty", style=ALLOW if outcome.key else FAINT)
    told = {
        "records": _range(outcome.first_sequence, outcome.records),
        "segments": str(outcome.segments),
        "last hash": outcome.last_hash,
        "removed": f"records 1 to {outcome.removed_until}, by retention" if outcome.removed_until else "",
        "sealed": _sealed(outcome),
        "unsealed": _unsealed(outcome),
        "key": _key(outcome, trusted=trusted),
    }
    return Group(heading, rows((label, Text(value)) for label, value in told.items() if value))


def _sealed(verified: Verified) -> str:
    """Return what signatures vouch for."""
    if verified.unsealed:
        return (
            "no: there is no key, so whoever can write here can have written all of it. a sidecar makes one before its "
            "first record: key and seals were removed, or a version that had none wrote this"
        )
    if not verified.key:
        return "no: there is no key, as before a first start, or when all of a journal was removed"
    reach = f"up to record {verified.sealed_until}" if verified.sealed_until else "no record yet"
    segments = f"{verified.seals} segment{'s' if verified.seals != 1 else ''} and the head"
    return f"{reach} ({segments if verified.seals else 'the head'})"


def _unsealed(verified: Verified) -> str:
    """Return which records no signature vouches for yet, behind those that are sealed."""
    first, last = verified.sealed_until + 1, verified.first_sequence + verified.records - 1
    if not verified.key or last < first:
        return ""
    return (
        f"{f'records {first} to {last}' if last > first else f'record {last}'}: until the next head is signed, within "
        "about a minute or at the next start, whoever can write here can change, add or cut them without a trace"
    )


def _key(verified: Verified, *, trusted: bool) -> str:
    """Return which key signed, and how far that can be believed."""
    if not verified.key:
        return ""
    beside = "`signing.pub` beside the journal: whoever can write here can replace it, and sign all of it anew"
    return f"{verified.key}, {'given with `--key`' if trusted else beside}"


def _range(first: int, count: int) -> str:
    return f"{count}, from {first} to {first + count - 1}" if count else "none yet"


def _broken(places: Sequence[Broken]) -> RenderableType:
    count = f"{len(places)} place{'s' if len(places) != 1 else ''}"
    lines = [Text(f"{place.segment}:{place.line}: {_record(place)}{place.what}") for place in places]
    return Group(Text(f"broken in {count}", style=DENY), *lines)


def _record(place: Broken) -> str:
    return f"record {place.sequence}: " if place.sequence else ""
