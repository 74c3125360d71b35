"""May somebody ask for an identity, and may that identity act at all?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from pdp.core.case import Case
from pdp.core.checks import identity
from pdp.core.model import Identity, Request
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope, is_pattern
from pdp.core.scope_relations import overlap
from pdp.core.standing import denials_of
from pdp.governance.refusal import Refusal, Rule
from pdp.governance.view import View


def against_asking(subject: str, view: View) -> Iterator[Refusal]:
    """Refuse who asks for an identity that is not among its own."""
    if not view.actor.may_ask_for(subject):
        message = f"`{view.actor.name}` may not ask for identity `{subject}`"
        remedy = "have somebody ask whose `identities` cover it"
        yield Refusal(Rule.NOT_YOURS, message, remedy, f"identity:{subject}")


def against_identity(subject: str, view: View) -> Iterator[Refusal]:
    """Refuse a subject that could not act, by the rows of the decision table that judge an identity."""
    if is_pattern(subject):
        message = f"identity `{subject}` is a family"
        yield Refusal(Code.IDENTITY_UNKNOWN, message, "name the one identity that acts", f"identity:{subject}")
        return
    view.identity_of(subject)
    case = Case(Request(subject=subject, action="", resource=""), view.snapshot, view.now)
    for row, denial in denials_of(case, identity.ROWS):
        yield Refusal(denial.code, denial.message, row.remedy, denial.about)


def records_of(scope: IdentityScope, view: View, wanted: Callable[[Identity], bool]) -> Iterator[Identity]:
    """Yield the records wanted of those that stand for any identity in a scope; no others are noted.

    A pattern may stand for every identity there is: to note them all would take seconds, in which others wait.
    """
    identities = view.snapshot.identities
    if any(map(is_pattern, scope.patterns)):
        patterns = view.snapshot.families.patterns
        families = (pattern for pattern in patterns if overlap(IdentityScope([pattern]), scope))
        ids = chain(filter(scope.covers, identities), families)
        found = (view.identity(id_) for id_ in ids if wanted(identities[id_]))
    else:
        found = (one for one in map(view.identity_of, scope.patterns) if one is not None and wanted(one))
    seen: set[str] = set()
    for one in found:
        if one is not None and one.id not in seen:
            seen.add(one.id)
            yield one
