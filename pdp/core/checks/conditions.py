"""Context and policy: what the session's constraints and the policies' conditions say about this very call.

Conditions are evaluated once per request, over one activation; each row then reports its own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pdp.core.aspects import APPROVAL, CONDITIONS, CONSTRAINTS, IDENTITY, PARENT, SESSION, TASK
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.model import Attribute, Attributes, Session
from pdp.core.policy.cel import AttributeMissingError, EvaluationError, Variable, activate, timestamp
from pdp.core.policy.model import Condition
from pdp.core.reasons import Code, Denial

_NEEDS_SESSION = frozenset({"session", "task", "approval"})


def variables(case: Case, names: frozenset[str]) -> dict[str, Variable]:
    """Return the named CEL variables of a case."""
    return {name: _VARIABLES[name](case) for name in names}


def _subject(case: Case) -> Mapping[str, Attribute]:
    request, identity = case.request, case.identity
    own: dict[str, Attribute] = {"id": request.subject, "type": request.subject_type}
    if case.aspects & IDENTITY:
        own |= {"kind": str(identity.kind), "owner": identity.owner, "labels": dict(identity.labels)}
    return own | {"properties": dict(request.subject_properties)}


def _action(case: Case) -> Mapping[str, Attribute]:
    return {"name": case.request.action, "properties": dict(case.request.action_properties)}


def _resource(case: Case) -> Mapping[str, Attribute]:
    type_, _, id_ = case.request.resource.partition(":")
    return {"type": type_, "id": id_, "properties": dict(case.request.resource_properties)}


def _session(case: Case) -> Mapping[str, Attribute]:
    if not case.aspects & SESSION:
        return {}
    session = case.session
    depth = len(case.ancestors)
    return {"id": session.id, "entitlement": session.entitlement, "parent": session.parent, "depth": depth}


def _task(case: Case) -> Mapping[str, Attribute]:
    if not case.aspects & TASK:
        return {}
    task = case.task
    return {"id": task.id, "owner": task.owner, "parent": task.parent}


def _approval(case: Case) -> Mapping[str, Attribute]:
    if not case.aspects & APPROVAL:
        return {}
    approval = case.approval
    return {
        "id": approval.id,
        "kind": str(approval.kind),
        "ticket": approval.ticket,
        "requested_by": approval.requested_by,
        "approved_by": approval.approved_by,
    }


def _signals(case: Case) -> Mapping[str, Attribute]:
    return {signal.name: signal.value for signal in case.signals() if case.now < signal.expires_at}


_VARIABLES: Mapping[str, Callable[[Case], Variable]] = {
    "context": lambda case: case.request.context,
    "subject": _subject,
    "action": _action,
    "resource": _resource,
    "session": _session,
    "task": _task,
    "approval": _approval,
    "signals": _signals,
    "now": lambda case: timestamp(case.now),
}


def findings(case: Case) -> Mapping[Code, Denial]:
    """Evaluate every condition of the case's rules, once; return the first denial of each code."""
    if case.findings is None:
        case.findings = _evaluate(case)
    return case.findings


def _evaluate(case: Case) -> Mapping[Code, Denial]:
    rules = case.rules
    found: dict[Code, Denial] = {}
    activation = activate(variables(case, rules.variables))
    for conditions, denies_when in ((rules.requirements, False), (rules.denials, True)):
        for condition in conditions:
            # Without a session the request is denied anyway, and such a condition cannot be evaluated.
            if not case.aspects & SESSION and not _NEEDS_SESSION.isdisjoint(condition.program.roots):
                continue
            try:
                denial = _failed(condition, denies_when) if condition.program.holds(activation) is denies_when else None
            except AttributeMissingError as error:
                message = f"`{error}` is missing, which policy `{condition.policy}` reads in `{condition.name}`"
                denial = Denial(Code.CONTEXT_MISSING, message, f"policy:{condition.policy}")
            except EvaluationError as error:
                message = f"`{condition.name}` of policy `{condition.policy}` cannot be evaluated: {error}"
                denial = Denial(Code.POLICY_ERROR, message, f"policy:{condition.policy}")
            if denial is not None:
                found.setdefault(denial.code, denial)
    return found


def _failed(condition: Condition, denies_when: bool) -> Denial:
    about = f"policy:{condition.policy}"
    if denies_when:
        return Denial(Code.POLICY_DENIED, f"policy `{condition.policy}` denies: {condition.name}", about)
    return Denial(Code.CONTEXT_VIOLATED, f"policy `{condition.policy}` requires: {condition.name}", about)


def constraint_missing(case: Case) -> Denial | None:
    """The session constrains an attribute that the context does not have."""
    return _constraint_missing(case, case.session)


def constraint_of_ancestor_missing(case: Case) -> Denial | None:
    """A session it was delegated by constrains an attribute that the context does not have."""
    return next(filter(None, (_constraint_missing(case, ancestor) for ancestor in case.ancestors)), None)


def constraint_violated(case: Case) -> Denial | None:
    """An attribute of the context has none of the values the session allows."""
    return _constraint_violated(case, case.session)


def constraint_of_ancestor_violated(case: Case) -> Denial | None:
    """An attribute has none of the values allowed by a session it was delegated by: delegation sheds no constraint."""
    return next(filter(None, (_constraint_violated(case, ancestor) for ancestor in case.ancestors)), None)


def condition_missing(case: Case) -> Denial | None:
    """A condition reads an attribute that the request does not have."""
    return findings(case).get(Code.CONTEXT_MISSING)


def condition_violated(case: Case) -> Denial | None:
    """A requirement does not hold."""
    return findings(case).get(Code.CONTEXT_VIOLATED)


def denied(case: Case) -> Denial | None:
    """A deny rule holds."""
    return findings(case).get(Code.POLICY_DENIED)


def error(case: Case) -> Denial | None:
    """A condition has no boolean value; in doubt it denies, be it a requirement or a deny rule."""
    return findings(case).get(Code.POLICY_ERROR)


def _constraint_missing(case: Case, session: Session) -> Denial | None:
    for name in session.constraints:
        if not _has(case.request.context, name):
            message = f"`context.{name}` is missing, which session `{session.id}` constrains"
            return Denial(Code.CONTEXT_MISSING, message, f"session:{session.id}")
    return None


def _constraint_violated(case: Case, session: Session) -> Denial | None:
    context = case.request.context
    for name, allowed in session.constraints.items():
        if _has(context, name) and not any(same(_get(context, name), value) for value in allowed):
            message = f"`context.{name}` is none of the values that session `{session.id}` allows"
            return Denial(Code.CONTEXT_VIOLATED, message, f"session:{session.id}")
    return None


def _has(attributes: Attributes, path: str) -> bool:
    return _get(attributes, path, missing=_MISSING) is not _MISSING


def _get(attributes: Attributes, path: str, missing: Attribute = None) -> Attribute:
    value: Attribute | Attributes = attributes
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return missing
        value = value[step]
    return value  # type: ignore[return-value]  # a path has at least one step, so this is an Attribute


def same(left: Attribute, right: Attribute) -> bool:
    """Compare as JSON does, at any depth: 1 is 1.0, but true is not 1."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return isinstance(left, bool) is isinstance(right, bool) and left == right


_MISSING: list[Attribute] = []
"""A value no context holds by identity."""

_PROVIDE = "provide the attribute in the context"
_SATISFY = "act in a context that satisfies it"

CONTEXT_ROWS = (
    Row(Code.CONTEXT_MISSING, SESSION | CONSTRAINTS, constraint_missing, _PROVIDE),
    Row(Code.CONTEXT_MISSING, SESSION | PARENT, constraint_of_ancestor_missing, _PROVIDE),
    Row(Code.CONTEXT_MISSING, CONDITIONS, condition_missing, _PROVIDE),
    Row(Code.CONTEXT_VIOLATED, SESSION | CONSTRAINTS, constraint_violated, _SATISFY),
    Row(Code.CONTEXT_VIOLATED, SESSION | PARENT, constraint_of_ancestor_violated, _SATISFY),
    Row(Code.CONTEXT_VIOLATED, CONDITIONS, condition_violated, _SATISFY),
)
DENIED = Row(Code.POLICY_DENIED, CONDITIONS, denied, "wait until the rule no longer holds, or have the policy changed")
ERROR = Row(Code.POLICY_ERROR, CONDITIONS, error, "send attributes of the type the condition reads")
