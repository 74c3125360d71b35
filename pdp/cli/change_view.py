"""Changes of facts as people and machines read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, cast

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, FAINT, quoted
from pdp.core.model import KIND_OF, AnyFact, FactKind, Put
from pdp.evidence.fact_json import change_json

if TYPE_CHECKING:
    from rich.console import RenderableType

_IDS_SHOWN = 5
_ORDER = list(FactKind)
_PLURALS = {FactKind.IDENTITY: "identities"}


def fact_json(fact: AnyFact) -> dict[str, object]:
    """Return a fact as the journal writes it: `{kind, id, revision, fact}`."""
    change = change_json(Put(fact))
    members = cast("dict[str, object]", change.get("fact", {}))
    members.pop("revision", None)
    return {"kind": change["kind"], "id": fact.id, "fact": members}


def imported_json(facts: Sequence[AnyFact], revision: int, *, dry_run: bool) -> dict[str, object]:
    """Return what was written, and the revision that did."""
    named = [{"kind": str(KIND_OF[type(fact)]), "id": fact.id} for fact in facts]
    return {"dry_run": dry_run, "revision": revision, "facts": named}


def imported_view(facts: Sequence[AnyFact], revision: int, *, dry_run: bool) -> RenderableType:
    """Return what was written by kind, with the first few ids."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style=FAINT)
    for kind, members in groupby(sorted(facts, key=_kind_order), lambda fact: KIND_OF[type(fact)]):
        ids = [fact.id for fact in members]
        table.add_row(str(len(ids)), _counted(kind, len(ids)), "\n".join(_shown(ids)))
    count = f"{len(facts)} fact{'s' if len(facts) != 1 else ''}"
    head = (
        Text.assemble(("good ", ALLOW), f"{count} could be written; nothing was")
        if dry_run
        else Text.assemble(("wrote ", ALLOW), f"{count} at revision {revision}")
    )
    return Group(head, Padding(table, (0, 0, 0, 2)))


def _kind_order(fact: AnyFact) -> int:
    return _ORDER.index(KIND_OF[type(fact)])


def _counted(kind: FactKind, count: int) -> str:
    return kind if count == 1 else _PLURALS.get(kind, f"{kind}s")


def _shown(ids: Sequence[str]) -> Iterator[str]:
    yield from ids[:_IDS_SHOWN]
    if len(ids) > _IDS_SHOWN:
        yield f"and {len(ids) - _IDS_SHOWN} more"


def changed_view(verb: str, what: str, revision: int, consequence: str) -> RenderableType:
    """Return what was changed, at which revision, and what follows from it."""
    head = Text.assemble((f"{verb} ", ALLOW), quoted(what), f" at revision {revision}")
    return Group(head, Text(consequence, style=FAINT))


def revoked_view(target: str, id_: str, revocation_id: str, revision: int) -> RenderableType:
    """Return what was revoked, and by which revocation."""
    return changed_view("revoked", f"{target} `{id_}`", revision, f"revocation {revocation_id}")
