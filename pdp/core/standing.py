"""Whether anything could be allowed under a session, proposed or known, whatever the request.

Rule 1: judged by the very rows of the decision table that judge a session, so opening and deciding cannot disagree.
Rule 2: under all policies together that overlap the session's scope: what any of them would deny part of, is objected.
Rule 3: what only a request can show (credential, context, the very action and resource) is not judged.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from msgspec import Struct

from pdp.core.aspects import AGE_LIMIT, APPROVAL, ENTITLEMENT, IDENTITY
from pdp.core.case import Case
from pdp.core.checks import limits
from pdp.core.checks.row import Row
from pdp.core.checks.scope import Scoped, scopes_of_ancestors
from pdp.core.checks.table import GROUPS
from pdp.core.horizon import NEVER
from pdp.core.model import KIND_OF, AnyFact, Approval, Entitlement, Instant, Request, Session, Task
from pdp.core.policy.model import Policy
from pdp.core.policy.rules import merge
from pdp.core.reasons import Code, Denial
from pdp.core.scope import Scope
from pdp.core.scope_relations import outside
from pdp.core.snapshot import Snapshot

STANDING_ROWS: tuple[Row, ...] = (
    *(row for group in ("identity", "session", "task", "entitlement", "approval") for row in GROUPS[group]),
    *limits.ROWS,
)


class Objection(Struct, frozen=True):
    """What stands against a session, and what would change that."""

    denial: Denial
    remedy: str


class End(NamedTuple):
    """Until when a session may last at most, and the fact or policy (`kind:id`) that says so."""

    at: Instant
    about: str


def standing(session: Session, snapshot: Snapshot, at: Instant, also: Iterable[AnyFact] = ()) -> tuple[Objection, ...]:
    """Return what stands against a session, proposed or known, in precedence order; empty if it is live.

    A session that begins later is judged when it begins. `also`: facts that would be written together with it.
    """
    case = _case(session, snapshot, at, also)
    return tuple(Objection(denial, row.remedy) for row, denial in denials_of(case, STANDING_ROWS))


def is_live(session: Session, snapshot: Snapshot, at: Instant) -> bool:
    """Whether the facts let a known session act at an instant; policies are not asked, so it costs little.

    The facts are as they are in the snapshot, whenever the instant is.
    """
    case = Case(Request(subject=session.identity, action="", resource="", session=session.id), snapshot, at)
    judge_under(case, ())
    return next(denials_of(case, STANDING_ROWS), None) is None


def scope_objections(session: Session, snapshot: Snapshot, also: Iterable[AnyFact] = ()) -> tuple[Objection, ...]:
    """Return where the session's scope reaches beyond what it rests on, nearest first, actions before resources."""
    bounds = tuple(_bounds(_case(session, snapshot, session.not_before, also)))
    actions = _beyond(Code.ACTION_OUT_OF_SCOPE, "action", session.actions, [(one, one.actions) for one in bounds])
    resources = [(one, one.resources) for one in bounds]
    found = (*actions, *_beyond(Code.RESOURCE_OUT_OF_SCOPE, "resource", session.resources, resources))
    return tuple(dict.fromkeys(found))


def latest_end(session: Session, snapshot: Snapshot, also: Iterable[AnyFact] = ()) -> End:
    """Return the earliest end that all the session rests on sets it, whatever its own `expires_at`."""
    case = _case(session, snapshot, session.not_before, also)
    return min(_ends(case), default=End(NEVER, ""))


def judge_under(case: Case, policies: Sequence[Policy]) -> None:
    """Have the case judged as one that exactly these policies cover."""
    own = AGE_LIMIT if case.aspects & IDENTITY and case.identity.credential_max_age is not None else 0
    facts = case.aspects & ~case.rules.aspects | own
    case.rules = merge(policies)
    case.aspects = facts | case.rules.aspects


def denials_of(case: Case, rows: Iterable[Row]) -> Iterator[tuple[Row, Denial]]:
    """Yield the rows that deny the case, with what they say."""
    for row in rows:
        denial = row.check(case) if case.aspects & row.needs == row.needs else None
        if denial is not None:
            yield row, denial


def _case(session: Session, snapshot: Snapshot, at: Instant, also: Iterable[AnyFact]) -> Case:
    request = Request(subject=session.identity, action="", resource="", session=session.id)
    case = Case(request, _Overlaid(snapshot, (session, *also)), max(at, session.not_before))
    judge_under(case, snapshot.policies.overlapping(session.actions, session.resources))
    return case


class _Overlaid(Snapshot):
    """A snapshot with a few facts laid over it; to be read, never written."""

    __slots__ = ()

    def __init__(self, beneath: Snapshot, facts: Sequence[AnyFact]) -> None:
        for name in Snapshot.__slots__:
            setattr(self, name, getattr(beneath, name))
        # Nothing here asks for more of a dict than a ChainMap has.
        sessions = {one.id: one for one in facts if isinstance(one, Session)}
        self.sessions = cast("dict[str, Session]", ChainMap(sessions, beneath.sessions))
        tasks = {one.id: one for one in facts if isinstance(one, Task)}
        self.tasks = cast("dict[str, Task]", ChainMap(tasks, beneath.tasks))
        approvals = {one.id: one for one in facts if isinstance(one, Approval)}
        self.approvals = cast("dict[str, Approval]", ChainMap(approvals, beneath.approvals))


def _bounds(case: Case) -> Iterator[Scoped]:
    """Yield what the session's scope must lie in."""
    if case.aspects & APPROVAL:
        yield case.approval
    if case.aspects & ENTITLEMENT:
        yield case.entitlement
    yield from scopes_of_ancestors(case)


def _beyond(code: Code, noun: str, scope: Scope, bounds: Iterable[tuple[Scoped, Scope]]) -> Iterator[Objection]:
    for fact, bound in bounds:
        patterns, kind = outside(scope, bound), KIND_OF[type(fact)]
        if patterns:
            subject = f"{noun} {_listed(patterns)} is" if len(patterns) == 1 else f"{noun}s {_listed(patterns)} are"
            denial = Denial(code, f"{subject} outside {kind} `{fact.id}`", f"{kind}:{fact.id}")
            yield Objection(denial, f"ask for {noun}s within {_listed(bound.patterns)}")


def _listed(patterns: Iterable[str]) -> str:
    return ", ".join(f"`{pattern}`" for pattern in patterns)


def _ends(case: Case) -> Iterator[End]:
    begin, limit = case.session.not_before, case.rules.session_ttl
    if limit is not None:
        yield End(Instant(begin + limit.bound), f"policy:{limit.policy}")
    if case.aspects & ENTITLEMENT and case.entitlement.max_session_ttl is not None:
        yield End(Instant(begin + case.entitlement.max_session_ttl), f"entitlement:{case.entitlement.id}")
    for fact in _bounds(case):
        until = fact.certified_until if isinstance(fact, Entitlement) else fact.expires_at
        if until is not None:
            yield End(until, f"{KIND_OF[type(fact)]}:{fact.id}")
