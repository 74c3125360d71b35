"""What an import writes: facts as they are, but for what `finality` keeps.

Rule 1: an import is whole or not at all.
Rule 2: what is written over a fact was judged against that very fact: the plan is committed only if it is still so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pdp.core.model import KIND_OF, AnyFact, Change, Drop, FactKind, Revision
from pdp.governance.finality import kept, revived
from pdp.governance.refusal import Refusal, Refused, Rule
from pdp.governance.view import Plan, Ref

_REMEDY = "leave it out of the import, and give what goes on an id of its own"


def imported(changes: Sequence[Change], known: Callable[[FactKind, str], AnyFact | None]) -> Plan | Refused:
    """Return the plan to write the changes; refused with every fact that must stay as it is known."""
    expected: dict[Ref, Revision] = {}
    refusals: list[Refusal] = []
    for change in changes:
        kind, id_ = (
            (change.kind, change.id) if isinstance(change, Drop) else (KIND_OF[type(change.fact)], change.fact.id)
        )
        before = known(kind, id_)
        expected[kind, id_] = 0 if before is None else before.revision
        message = kept(id_, before) if isinstance(change, Drop) else revived(change.fact, before)
        if message:
            refusals.append(Refusal(Rule.WRONG_STATE, message, _REMEDY, f"{kind}:{id_}"))
    return Refused(tuple(refusals)) if refusals else Plan(tuple(changes), expected)
