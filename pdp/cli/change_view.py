"""Changes of facts as people and machines read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, cast

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, FAINT, quoted, rows
from pdp.cli.fact_view import fact_rows
from pdp.core.model import KIND_OF, AnyFact, FactKind, Put
from pdp.evidence.line.fact_json import change_json

if TYPE_CHECKING:
    from rich.console import RenderableType

_IDS_SHOWN = 5
_ORDER = list(FactKind)
_PLURALS = {FactKind.IDENTITY: "identities"}


class Changed(NamedTuple):
    """What a command has changed, or would."""

    revision: int
    facts: Sequence[AnyFact]
    """As written, the command's own first; what was removed is not among them."""
    already_done: bool
    dry_run: bool


def fact_json(fact: AnyFact) -> dict[str, object]:
    """Return a fact as the journal writes it: `{kind, id, fact}`, and where it is known the `revision` that did."""
    change = change_json(Put(fact))
    members = cast("dict[str, object]", change["fact"])
    members.pop("revision", None)
    written = {"revision": fact.revision} if fact.revision else {}
    return {"kind": change["kind"], "id": fact.id, **written, "fact": members}


def imported_json(changed: Changed) -> dict[str, object]:
    """Return what was imported by kind and id, and the revision that wrote it."""
    named = [{"kind": str(KIND_OF[type(fact)]), "id": fact.id} for fact in changed.facts]
    return {**_done_json(changed), "facts": named}


def imported_view(changed: Changed) -> RenderableType:
    """Return what was imported by kind, with the first few ids."""
    count = f"{len(changed.facts)} fact{'s' if len(changed.facts) != 1 else ''}"
    head = (
        Text.assemble(("good ", ALLOW), f"{count} could be written; nothing was")
        if changed.dry_run
        else Text.assemble(("wrote ", ALLOW), count, _when(changed))
    )
    return Group(head, _indented(_by_kind(changed.facts)))


def changed_json(changed: Changed) -> dict[str, object]:
    """Return what was written, and the revision that did."""
    return {**_done_json(changed), "facts": [fact_json(fact) for fact in changed.facts]}


def _done_json(changed: Changed) -> dict[str, object]:
    return {"dry_run": changed.dry_run, "already_done": changed.already_done, "revision": changed.revision}


def changed_view(done: str, what: str, changed: Changed, follows: str = "", *, did: str = "") -> RenderableType:
    """Return what was done to what, at which revision, what it is like now, and what follows from that.

    `done` is the participle; `did` the past, where that is another word.
    """
    told = [Text(follows, style=FAINT)] if follows and not changed.dry_run else []
    return Group(_head(done, did or done, what, changed), *told, *map(_indented, _parts(changed)))


def _head(done: str, did: str, what: str, changed: Changed) -> Text:
    if changed.dry_run:
        return Text.assemble(("good ", ALLOW), quoted(what), f" would be {done}; nothing was written")
    return Text.assemble((f"{did} ", ALLOW), quoted(what), _when(changed))


def _when(changed: Changed) -> str:
    before = ", when this was sent before" if changed.already_done else ""
    return f" at revision {changed.revision}{before}"


def _parts(changed: Changed) -> Iterator[RenderableType]:
    first, others = changed.facts[:1], changed.facts[1:]
    for fact in first:
        yield rows(fact_rows(fact, own_id=False))
    if others:
        yield Text("and with it", style=FAINT)
        yield _by_kind(others)


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, 2))


def _by_kind(facts: Sequence[AnyFact]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style=FAINT)
    for kind, members in groupby(sorted(facts, key=_kind_order), lambda fact: KIND_OF[type(fact)]):
        ids = [fact.id for fact in members]
        table.add_row(str(len(ids)), _counted(kind, len(ids)), "\n".join(_shown(ids)))
    return table


def _kind_order(fact: AnyFact) -> int:
    return _ORDER.index(KIND_OF[type(fact)])


def _counted(kind: FactKind, count: int) -> str:
    return kind if count == 1 else plural(kind)


def plural(kind: FactKind) -> str:
    """Return what several facts of a kind are called."""
    return _PLURALS.get(kind, f"{kind}s")


def _shown(ids: Sequence[str]) -> Iterator[str]:
    yield from ids[:_IDS_SHOWN]
    if len(ids) > _IDS_SHOWN:
        yield f"and {len(ids) - _IDS_SHOWN} more"
