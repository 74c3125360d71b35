"""What a record does not say although the decision may have rested on it: masked or omitted attributes.

In doubt it counts as read: a condition that reaches an attribute in a roundabout way is taken to read all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pdp.core.case import Case
from pdp.core.model import Request
from pdp.core.policy.model import Condition
from pdp.core.snapshot import Snapshot
from pdp.evidence.replay.recorded import RecordedDecision

_ATTRIBUTES = ("context", "subject_properties", "action_properties", "resource_properties")
_VARIABLES = {
    "context": ("context", r"\bcontext\b"),
    "subject_properties": ("subject", r"\bsubject\s*\.\s*properties\b"),
    "action_properties": ("action", r"\baction\s*\.\s*properties\b"),
    "resource_properties": ("resource", r"\bresource\s*\.\s*properties\b"),
}
"""The variable that conditions read each by, and how that is written."""


def unseen(recorded: RecordedDecision, request: Request, snapshot: Snapshot) -> str:
    """Return which attribute that is not on record the decision may rest on, and who reads it; empty: none."""
    if not recorded.masked and not recorded.omitted:
        return ""
    return next(_unseen(recorded, Case(request, snapshot, recorded.at)), "")


def _unseen(recorded: RecordedDecision, case: Case) -> Iterator[str]:
    paths = [path.split(".") for path in recorded.masked]
    if recorded.omitted:
        paths += [[name] for name in _ATTRIBUTES]
    for path in paths:
        for condition in (*case.rules.requirements, *case.rules.denials):
            if _reads(condition, path):
                reader = f"`{condition.name}` of policy `{condition.policy}`"
                yield f"`{'.'.join(path)}` is not on record, and {reader} may read it"
        for session in () if case.session is None else (case.session, *case.ancestors):
            if path[0] == "context" and _constrained(session.constraints, path[1:]):
                yield f"`{'.'.join(path)}` is not on record, and session `{session.id}` constrains it"


def _reads(condition: Condition, path: list[str]) -> bool:
    if path[0] not in _VARIABLES:
        return True
    variable, written = _VARIABLES[path[0]]
    if variable not in condition.program.roots:
        return False
    source = condition.program.source
    if len(path) == 1 or path[1] == "*":
        return re.search(rf"{written}|\b{variable}\b(?!\s*\.)", source) is not None
    if re.search(rf"\b{re.escape(path[1])}\b", source):
        return True
    # Without a plain `.name` behind it, any attribute may be meant: `context[action.name]`, `resource == x`.
    return re.search(rf"\b{variable}\b(?!\s*\.)|{written}(?!\s*\.)", source) is not None


def _constrained(names: Iterable[str], path: list[str]) -> bool:
    """Whether any constraint is on the attribute, on what it is inside of, or on what is inside of it."""
    return any(all(map(_same_step, name.split("."), path)) for name in names)


def _same_step(step: str, masked: str) -> bool:
    return masked in ("*", step)
