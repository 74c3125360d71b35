"""One request beside the facts it touches, gathered once, before any check looks.

Gathering never judges. It notes in `aspects` what there is to judge (a session, a credential, a limit on uses, …);
a row of the table is reached only when every aspect it needs is there. So rows need not ask whether their facts
exist, and the rows that have nothing to say about a request cost it nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from pdp.core.aspects import (
    AGE_LIMIT,
    APPROVAL,
    APPROVAL_NAMED,
    APPROVAL_USES,
    BREAK_GLASS,
    CALLER,
    CLOSED,
    CONSTRAINTS,
    CREDENTIAL,
    ENTITLEMENT,
    IDENTITY,
    IDLE_TIMEOUT,
    INACTIVE,
    NO_APPROVAL,
    NO_ENTITLEMENT,
    NO_IDENTITY,
    NO_SESSION,
    NO_TASK,
    PARENT,
    REVISION_ASKED,
    SESSION,
    SESSION_USES,
    SUBTASK,
    TASK,
    TASK_ASKED,
    TYPE_ASKED,
    UNAPPROVED,
    UNREADY,
)
from pdp.core.decision import Found, Grant
from pdp.core.model import (
    Approval,
    ApprovalKind,
    ApprovalState,
    Credential,
    Entitlement,
    Identity,
    IdentityState,
    Instant,
    Request,
    Session,
    SessionState,
    Signal,
    Task,
)
from pdp.core.policy.rules import Rules
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Readiness, Snapshot

MAX_ANCESTORS = 32
"""Longest chain of parent sessions or parent tasks that is followed; a longer one (or a cycle) has no valid end."""

_COMPLETE = IDENTITY | SESSION | TASK | ENTITLEMENT
_READY, _ACTIVE, _OPEN = Readiness.READY, IdentityState.ACTIVE, SessionState.OPEN
_APPROVED, _BREAK_GLASS = ApprovalState.APPROVED, ApprovalKind.BREAK_GLASS
_NO_RULES = Rules()


class Case:
    """What the checks look at.

    INVARIANT: `identity`, `session`, `task`, `entitlement`, `approval` and `credential` may be touched by a row only
    if it needs the aspect of that name; else they may be None, which their types leave out for the rows' sake.
    """

    __slots__ = (
        "ancestors",
        "approval",
        "asked_task",
        "aspects",
        "candidates",
        "credential",
        "entitlement",
        "findings",
        "identity",
        "live_candidates",
        "now",
        "request",
        "rules",
        "session",
        "session_id",
        "snapshot",
        "subject",
        "task",
        "tasks",
    )

    identity: Identity
    session: Session
    task: Task
    entitlement: Entitlement
    approval: Approval
    credential: Credential
    tasks: tuple[Task, ...]
    """The task and its parent tasks as far as they are known, nearest first."""
    ancestors: tuple[Session, ...]
    """The parent sessions as far as they are known, nearest first."""
    candidates: tuple[Session, ...]
    """The sessions of (subject, task), when the request names no session."""
    findings: Mapping[Code, Denial] | None
    """What the conditions of the policies came to, once a row has asked."""

    def __init__(self, request: Request, snapshot: Snapshot, now: Instant) -> None:
        self.request = request
        self.snapshot = snapshot
        self.now = now
        self.subject = request.subject
        self.asked_task = request.task
        self.credential = credential = request.credential  # type: ignore[assignment]  # see INVARIANT
        self.findings = None
        self.candidates = ()
        self.live_candidates = 0
        self.rules = rules = snapshot.policies.covering(request.action, request.resource)
        aspects: int = rules.aspects
        if snapshot.readiness is not _READY:
            aspects |= UNREADY
        if request.at_least_revision:
            aspects |= REVISION_ASKED
        if request.caller is not None:
            aspects |= CALLER
        if request.subject_type:
            aspects |= TYPE_ASKED
        if credential is not None:
            aspects |= CREDENTIAL
        session_id = request.session
        if session_id:
            session = snapshot.sessions.get(session_id)
            if request.task:
                aspects |= TASK_ASKED
        else:
            session = self._find_session()
            session_id = "" if session is None else session.id
        self.session_id = session_id
        aspects |= self._gather(session)
        if aspects & PARENT:
            self.ancestors = _ancestors(session, snapshot)  # type: ignore[arg-type]  # a parent's child is not None
        self.aspects = aspects

    @classmethod
    def of_ancestor(cls, child: Case, session: Session) -> Case:
        """Gather the facts of an ancestor: its own identity, task, entitlement and approval; no policies."""
        case = cls.__new__(cls)
        case.request = child.request
        case.snapshot = child.snapshot
        case.now = child.now
        case.rules = _NO_RULES
        case.credential = None  # type: ignore[assignment]  # see INVARIANT
        case.subject = session.identity
        case.asked_task = ""
        case.findings = None
        case.candidates = ()
        case.live_candidates = 0
        case.session_id = session.id
        # The youngest descendant has walked the whole chain already: ancestors of ancestors are not gathered.
        case.aspects = case._gather(session) & ~PARENT  # noqa: SLF001  # of its own class
        return case

    def _find_session(self) -> Session | None:
        """Find the one live session of (subject, task); several are ambiguous and none of them is chosen."""
        if not self.asked_task:
            return None
        ids = self.snapshot.sessions_of.get((self.subject, self.asked_task), ())
        self.candidates = candidates = tuple(self.snapshot.sessions[id_] for id_ in ids)
        now = self.now
        live = [one for one in candidates if one.state is _OPEN and one.not_before <= now < one.expires_at]
        self.live_candidates = len(live)
        if len(live) > 1:
            return None
        # With none alive the last to end explains the denial best; it cannot grant.
        return live[0] if live else max(candidates, key=lambda one: (one.expires_at, one.id), default=None)

    def _gather(self, session: Session | None) -> int:
        """Gather the subject's identity and what the session rests on; return the aspects."""
        snapshot, subject = self.snapshot, self.subject
        identity = snapshot.identities.get(subject)
        if identity is None and snapshot.families.patterns:
            identity = snapshot.family_of(subject)
        self.identity = identity  # type: ignore[assignment]
        if identity is None:
            aspects = NO_IDENTITY
        else:
            aspects = IDENTITY
            if identity.state is not _ACTIVE:
                aspects |= INACTIVE
            if identity.credential_max_age is not None:
                aspects |= AGE_LIMIT
        self.session = session  # type: ignore[assignment]
        self.ancestors = ()
        self.tasks = ()
        if session is None:
            self.task = self.entitlement = self.approval = None  # type: ignore[assignment]
            return aspects | NO_SESSION
        return aspects | self._gather_basis(session)

    def _gather_basis(self, session: Session) -> int:
        snapshot = self.snapshot
        aspects = SESSION
        if session.state is not _OPEN:
            aspects |= CLOSED
        if session.idle_timeout is not None:
            aspects |= IDLE_TIMEOUT
        if session.max_uses is not None:
            aspects |= SESSION_USES
        if session.constraints:
            aspects |= CONSTRAINTS
        if session.parent:
            aspects |= PARENT
        self.task = task = snapshot.tasks.get(session.task)  # type: ignore[assignment]
        if task is None:
            aspects |= NO_TASK
        elif task.parent:
            aspects |= TASK | SUBTASK
            self.tasks = _lineage(task, snapshot)
        else:
            aspects |= TASK
            self.tasks = (task,)
        self.entitlement = entitlement = snapshot.entitlements.get(session.entitlement)  # type: ignore[assignment]
        aspects |= NO_ENTITLEMENT if entitlement is None else ENTITLEMENT
        if not session.approval:
            self.approval = None  # type: ignore[assignment]
            return aspects
        return aspects | self._gather_approval(session)

    def _gather_approval(self, session: Session) -> int:
        aspects = APPROVAL_NAMED
        self.approval = approval = self.snapshot.approvals.get(session.approval)  # type: ignore[assignment]
        if approval is None:
            return aspects | NO_APPROVAL
        if approval.state is not _APPROVED:
            aspects |= UNAPPROVED
        if approval.max_uses is not None:
            aspects |= APPROVAL_USES
        if approval.kind is _BREAK_GLASS:
            aspects |= BREAK_GLASS
        return aspects | APPROVAL

    def found(self) -> Found:
        """Return the facts that were found, for a denial's evidence."""
        return Found(self.identity, self.session, self.task, self.entitlement, self.approval)

    def grant(self) -> Grant | None:
        """Return the proof of an allow, or None if any fact is missing."""
        aspects = self.aspects
        if aspects & _COMPLETE != _COMPLETE or aspects & NO_APPROVAL:
            return None
        return Grant(self.identity, self.session, self.task, self.entitlement, self.approval, self.ancestors)

    def signals(self) -> list[Signal]:
        """Return the signals about the subject or the session, expired ones included.

        The last written comes last, so that of several of one name it is the one that counts.
        """
        about, signals = self.snapshot.signals_about, self.snapshot.signals
        found = [signals[id_] for id_ in (*about.get(self.subject, ()), *about.get(self.session_id, ()))]
        return sorted(found, key=lambda one: (one.revision, one.id))

    def last_use(self) -> Instant:
        """Return when the session was last used; its start if never."""
        use = self.snapshot.session_uses.get(self.session_id)
        return self.session.not_before if use is None else use.last


def _ancestors(session: Session, snapshot: Snapshot) -> tuple[Session, ...]:
    chain: list[Session] = []
    while session.parent and len(chain) < MAX_ANCESTORS:
        parent = snapshot.sessions.get(session.parent)
        if parent is None:
            break
        chain.append(parent)
        session = parent
    return tuple(chain)


def _lineage(task: Task, snapshot: Snapshot) -> tuple[Task, ...]:
    chain = [task]
    while task.parent and len(chain) <= MAX_ANCESTORS:
        parent = snapshot.tasks.get(task.parent)
        if parent is None:
            break
        chain.append(parent)
        task = parent
    return tuple(chain)
