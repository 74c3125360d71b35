"""One request beside the facts it touches, gathered once, before any check looks.

Gathering never judges: a fact that is missing is None here, and the row for it in the table says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from pdp.core.decision import Found, Grant
from pdp.core.model import (
    Approval,
    Credential,
    Entitlement,
    Identity,
    Instant,
    Request,
    Session,
    SessionState,
    Signal,
    Task,
)
from pdp.core.policy.rules import Rules
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Snapshot

_OPEN = SessionState.OPEN
_NO_RULES = Rules()

MAX_ANCESTORS = 32
"""Longest parent chain that is followed; a longer one (or a cycle) has ended."""

# Which facts a case has, as bits: a check that needs others is not reached.
ALWAYS, IDENTITY, SESSION, TASK, ENTITLEMENT, APPROVAL = 0, 1, 2, 4, 8, 16
# What a case may do without: a check that needs it has nothing to deny, and passes.
CREDENTIAL, PARENT, CONSTRAINTS, CONDITIONS, REQUIREMENTS = 32, 64, 128, 256, 512
OPTIONAL = CREDENTIAL | PARENT | CONSTRAINTS | CONDITIONS | REQUIREMENTS | APPROVAL


class Case:
    """What the checks look at. `present` has a bit for each fact that was found."""

    __slots__ = (
        "ambiguous",
        "ancestors",
        "approval",
        "asked_task",
        "candidates",
        "credential",
        "entitlement",
        "findings",
        "identity",
        "now",
        "present",
        "request",
        "rules",
        "session",
        "session_id",
        "snapshot",
        "subject",
        "task",
    )

    approval: Approval | None
    entitlement: Entitlement | None
    session: Session | None
    task: Task | None

    def __init__(self, request: Request, snapshot: Snapshot, now: Instant) -> None:
        """Gather the facts of a request."""
        self.request = request
        self.snapshot = snapshot
        self.now = now
        self.findings: Mapping[Code, Denial] | None = None
        self.rules: Rules = snapshot.policies.covering(request.action, request.resource)
        self.credential: Credential | None = request.credential
        self.subject = request.subject
        self.asked_task = request.task
        self.candidates: tuple[Session, ...] = ()
        self.ambiguous = 0
        session_id = request.session
        if session_id:
            session = snapshot.sessions.get(session_id)
        elif request.task:
            session = self._find_session()
        else:
            session = None
        self.session_id = session_id if session is None else session.id
        self._follow(session)

    @classmethod
    def of_ancestor(cls, child: Case, session: Session) -> Case:
        """Gather the facts of an ancestor: its own identity, task, entitlement and approval, no policies."""
        case = cls.__new__(cls)
        case.request = child.request
        case.snapshot = child.snapshot
        case.now = child.now
        case.findings = None
        case.rules = _NO_RULES
        case.credential = None
        case.subject = session.identity
        case.asked_task = ""
        case.candidates = ()
        case.ambiguous = 0
        case.session_id = session.id
        case._follow(session)
        case.present &= ~PARENT  # the youngest descendant has walked the whole chain already
        return case

    def _find_session(self) -> Session | None:
        """Find the one live session of (subject, task); several are ambiguous and none of them is chosen."""
        ids = self.snapshot.sessions_of.get((self.subject, self.asked_task), ())
        sessions = [self.snapshot.sessions[id_] for id_ in ids]
        live = [session for session in sessions if _live(session, self.now)]
        self.candidates = tuple(sessions)
        if len(live) > 1:
            self.ambiguous = len(live)
            return None
        # With none alive the last to end explains the denial best; it cannot grant.
        return live[0] if live else max(sessions, key=lambda session: session.expires_at, default=None)

    def _follow(self, session: Session | None) -> None:
        """Gather what the session rests on, and note what is present."""
        snapshot = self.snapshot
        self.identity: Identity | None = snapshot.identity_of(self.subject)
        present = self.rules_present()
        if self.identity is not None:
            present |= IDENTITY
        if self.credential is not None:
            present |= CREDENTIAL
        self.session = session
        self.ancestors: tuple[Session | None, ...] = ()
        self.task = self.entitlement = self.approval = None
        if session is not None:
            present |= SESSION
            self.task = snapshot.tasks.get(session.task)
            if self.task is not None:
                present |= TASK
            self.entitlement = snapshot.entitlements.get(session.entitlement)
            if self.entitlement is not None:
                present |= ENTITLEMENT
            if session.approval:
                self.approval = snapshot.approvals.get(session.approval)
                if self.approval is not None:
                    present |= APPROVAL
            if session.constraints:
                present |= CONSTRAINTS
            if session.parent:
                present |= PARENT
                self.ancestors = _ancestors(session, snapshot)
        self.present = present

    def rules_present(self) -> int:
        """Return the bits of what the policies ask for."""
        rules = self.rules
        present = CONDITIONS if rules.requirements or rules.denials else 0
        return present | REQUIREMENTS if rules.approvals else present

    def found(self) -> Found:
        """Return the facts that were found, for a denial's evidence."""
        return Found(self.identity, self.session, self.task, self.entitlement, self.approval)

    def grant(self) -> Grant | None:
        """Return the proof of an allow, or None if any fact is missing."""
        identity, session, task, entitlement = self.identity, self.session, self.task, self.entitlement
        if identity is None or session is None or task is None or entitlement is None:
            return None
        ancestors = tuple(ancestor for ancestor in self.ancestors if ancestor is not None)
        if len(ancestors) != len(self.ancestors) or (session.approval and self.approval is None):
            return None
        return Grant(identity, session, task, entitlement, self.approval, ancestors)

    def signals(self) -> list[Signal]:
        """Return the signals about the subject and about the session, expired ones included."""
        snapshot = self.snapshot
        ids = snapshot.signals_about.get(self.subject, ()) + snapshot.signals_about.get(self.session_id, ())
        return [snapshot.signals[id_] for id_ in ids]

    def last_use(self, session: Session) -> Instant:
        """Return when the session was last used; its start if never."""
        use = self.snapshot.session_uses.get(session.id)
        return session.not_before if use is None else use.last


def _live(session: Session, now: Instant) -> bool:
    return session.state is _OPEN and session.not_before <= now < session.expires_at


def _ancestors(session: Session, snapshot: Snapshot) -> tuple[Session | None, ...]:
    """Return the parent chain, nearest first; a final None stands for one that is missing or too far."""
    chain: list[Session | None] = []
    while session.parent:
        parent = snapshot.sessions.get(session.parent)
        if parent is None or len(chain) == MAX_ANCESTORS:
            return (*chain, None)
        chain.append(parent)
        session = parent
    return tuple(chain)
