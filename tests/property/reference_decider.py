"""A slow, plain decider, written from the design alone, that the fast one must agree with.

No index, no aspects, no compiled patterns: lists, loops and one question after the other. Where the design leaves the
presentation of a denial open (which of several dead sessions explains it), the docstrings of the core are followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pdp.core.model import (
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Entitlement,
    IdentityState,
    Instant,
    Request,
    RevocationTarget,
    Session,
    SessionState,
    Signal,
    Task,
    TaskState,
)
from pdp.core.policy.model import ApprovalRequirement, Limits
from pdp.core.reasons import Code
from pdp.core.snapshot import Readiness
from tests.property.reference_world import (
    CONDITIONS,
    LONGEST_CHAIN,
    MissingError,
    NoTruthError,
    Variables,
    WorldAt,
    covers_identity,
    in_scope,
    reads_session,
)


@dataclass(frozen=True)
class Reference(WorldAt):
    """One world at one instant, ready to be asked."""

    def codes(self, request: Request) -> tuple[Code, ...]:
        """Return the codes of the decision, each once, in precedence order."""
        session = self.session(request)
        found = {
            *self.service(request),
            *self.request(request),
            *self.credential(request),
            *self.identity(request.subject, request.subject_type),
            *self.finding(request, session),
        }
        if session is not None:
            found.update(self.basis(session, request.subject))
            found.update(self.chain(session))
            found.update(self.asked(session, request))
            found.update(self.scope(session, request))
            found.update(self.constraints(session, request))
            found.update(self.limits(session, request))
            found.update(self.consent(session, request))
        found.update(self.conditions(session, request))
        if found:
            return tuple(code for code in Code if code in found)
        return (Code.GRANTED_BREAK_GLASS if self.is_break_glass(session) else Code.GRANTED,)

    def service(self, request: Request) -> Iterator[Code]:
        """May this state be decided on?"""
        if self.world.readiness is Readiness.NOT_READY:
            yield Code.STATE_NOT_READY
        if self.world.readiness is Readiness.STALE:
            yield Code.STATE_STALE
        if request.at_least_revision > self.world.revision:
            yield Code.STATE_BEHIND

    def request(self, request: Request) -> Iterator[Code]:
        """May the caller ask?"""
        caller = request.caller
        if caller is not None and not any(covers_identity(one, request.subject) for one in caller.may_ask.patterns):
            yield Code.CALLER_NOT_PERMITTED

    def most_age(self, request: Request) -> int | None:
        """Return the tightest bound on the credential's age."""
        record = self.record(request.subject)
        ages = [one.limits.credential_age for one in self.policies(request)]
        ages += [record.credential_max_age] if record is not None else []
        return min((age for age in ages if age is not None), default=None)

    def credential(self, request: Request) -> Iterator[Code]:
        """Is what was shown good?"""
        credential, age = request.credential, self.most_age(request)
        if credential is None or credential.issued_at is None:
            if age is not None:
                yield Code.CREDENTIAL_INVALID
        else:
            issued, expires = credential.issued_at, credential.expires_at
            if issued > self.now or (expires is not None and expires <= issued):
                yield Code.CREDENTIAL_INVALID
            if age is not None and self.now - issued >= age:
                yield Code.CREDENTIAL_TOO_OLD
        if credential is not None:
            if credential.expires_at is not None and self.now >= credential.expires_at:
                yield Code.CREDENTIAL_EXPIRED
            if self.revoked(RevocationTarget.CREDENTIAL, credential.id):
                yield Code.CREDENTIAL_REVOKED
            if self.revoked(RevocationTarget.ISSUER, credential.issuer):
                yield Code.CREDENTIAL_REVOKED
            if credential.subject not in ("", request.subject):
                yield Code.CREDENTIAL_MISMATCH

    def identity(self, subject: str, type_: str = "") -> Iterator[Code]:
        """Is the subject known, alive and owned?"""
        record = self.record(subject)
        if self.revoked(RevocationTarget.IDENTITY, subject):
            yield Code.IDENTITY_REVOKED
        if record is None:
            yield Code.IDENTITY_UNKNOWN
            return
        if type_ not in ("", record.kind):
            yield Code.IDENTITY_UNKNOWN
        if record.state is IdentityState.RETIRED:
            yield Code.IDENTITY_RETIRED
        if record.state is IdentityState.SUSPENDED:
            yield Code.IDENTITY_SUSPENDED
        if not record.owner or self.revoked(RevocationTarget.OWNER, record.owner):
            yield Code.IDENTITY_UNOWNED

    def finding(self, request: Request, session: Session | None) -> Iterator[Code]:
        """Is there exactly one session?"""
        if session is None:
            if request.session:
                yield Code.SESSION_UNKNOWN
            elif not request.task:
                yield Code.SESSION_REQUIRED
            elif self.live(request):
                yield Code.SESSION_AMBIGUOUS
            else:
                yield Code.SESSION_UNKNOWN
        if self.revoked(RevocationTarget.SESSION, request.session):
            yield Code.SESSION_REVOKED

    def basis(self, session: Session, subject: str) -> Iterator[Code]:
        """Is a session live, with its task, its entitlement and its approval?"""
        yield from self.liveness(session, subject)
        yield from self.task(session)
        yield from self.entitlement(session)
        if session.approval:
            yield from self.approval(session, subject)

    def last_use(self, session: Session) -> Instant:
        """Return when a session was last used, its start if never."""
        return self.world.session_uses.get(session.id, (0, session.not_before))[1]

    def liveness(self, session: Session, subject: str) -> Iterator[Code]:
        """Is a session the subject's, and open, in its window, in use and not used up?"""
        if session.identity != subject:
            yield Code.SESSION_MISMATCH
        if self.revoked(RevocationTarget.SESSION, session.id):
            yield Code.SESSION_REVOKED
        if session.state is SessionState.CLOSED:
            yield Code.SESSION_CLOSED
        if self.now < session.not_before:
            yield Code.SESSION_NOT_STARTED
        if self.now >= session.expires_at:
            yield Code.SESSION_EXPIRED
        if session.idle_timeout is not None and self.now - self.last_use(session) >= session.idle_timeout:
            yield Code.SESSION_IDLE
        if session.max_uses is not None and self.world.session_uses.get(session.id, (0, 0))[0] >= session.max_uses:
            yield Code.SESSION_EXHAUSTED

    def task(self, session: Session) -> Iterator[Code]:
        """Is the work going on?"""
        id_, steps = session.task, 0
        while id_:
            if self.revoked(RevocationTarget.TASK, id_):
                yield Code.TASK_REVOKED
            task = self.world.one(Task, id_)
            if task is None or steps > LONGEST_CHAIN:
                yield Code.TASK_UNKNOWN
                return
            if task.state is not TaskState.OPEN:
                yield Code.TASK_ENDED
            id_, steps = task.parent, steps + 1

    def entitlement(self, session: Session) -> Iterator[Code]:
        """Is the identity eligible?"""
        if self.revoked(RevocationTarget.ENTITLEMENT, session.entitlement):
            yield Code.ENTITLEMENT_REVOKED
        entitlement = self.world.one(Entitlement, session.entitlement)
        if entitlement is None:
            yield Code.ENTITLEMENT_UNKNOWN
            return
        if not any(covers_identity(one, session.identity) for one in entitlement.identity.patterns):
            yield Code.ENTITLEMENT_UNKNOWN
        if entitlement.certified_until is None or self.now >= entitlement.certified_until:
            yield Code.ENTITLEMENT_LAPSED

    def approval(self, session: Session, subject: str) -> Iterator[Code]:
        """Is the consent that a session names standing?"""
        if self.revoked(RevocationTarget.APPROVAL, session.approval):
            yield Code.APPROVAL_REVOKED
        approval = self.world.one(Approval, session.approval)
        if approval is None:
            yield Code.APPROVAL_UNKNOWN
            return
        if approval.identity not in ("", session.identity):
            yield Code.APPROVAL_UNKNOWN
        states = {
            ApprovalState.PENDING: Code.APPROVAL_PENDING,
            ApprovalState.REJECTED: Code.APPROVAL_REJECTED,
            ApprovalState.WITHDRAWN: Code.APPROVAL_REVOKED,
        }
        if approval.state in states:
            yield states[approval.state]
        if self.now < approval.not_before:
            yield Code.APPROVAL_NOT_STARTED
        if self.now >= approval.expires_at:
            yield Code.APPROVAL_EXPIRED
        if approval.max_uses is not None and self.world.approval_uses.get(approval.id, (0, 0))[0] >= approval.max_uses:
            yield Code.APPROVAL_EXHAUSTED
        if approval.kind is ApprovalKind.BREAK_GLASS and self.review_overdue({subject, approval.requested_by}):
            yield Code.REVIEW_OVERDUE

    def review_overdue(self, people: set[str]) -> bool:
        """Whether a break-glass for any of them should have been reviewed by now."""
        return any(
            one.kind is ApprovalKind.BREAK_GLASS
            and not one.reviewed_by
            and (one.identity or one.requested_by) in people
            and one.review_due is not None
            and one.review_due <= self.now
            for one in self.world.all(Approval)
        )

    def chain(self, session: Session) -> Iterator[Code]:
        """Is every session live that this one was delegated by?"""
        ancestors, ends = self.ancestors(session)
        if not ends:
            yield Code.PARENT_SESSION_ENDED
        for one in ancestors:
            if any(self.identity(one.identity)) or any(self.basis(one, one.identity)):
                yield Code.PARENT_SESSION_ENDED

    def asked(self, session: Session, request: Request) -> Iterator[Code]:
        """Is the session for the task that the request names?"""
        if request.task not in ("", session.task):
            yield Code.TASK_MISMATCH

    def scope(self, session: Session, request: Request) -> Iterator[Code]:
        """Do action and resource lie in the session, its entitlement, its approval and every ancestor's?"""
        for one in (session, *self.ancestors(session)[0]):
            entitlement, approval = self.world.one(Entitlement, one.entitlement), self.world.one(Approval, one.approval)
            for fact in (one, entitlement, approval):
                if fact is not None:
                    action, resource = in_scope(fact.actions.patterns, fact.resources.patterns, request)
                    if not action:
                        yield Code.ACTION_OUT_OF_SCOPE
                    if not resource:
                        yield Code.RESOURCE_OUT_OF_SCOPE

    def constraints(self, session: Session, request: Request) -> Iterator[Code]:
        """Is the context one that the session and its ancestors allow?"""
        for one in (session, *self.ancestors(session)[0]):
            for name, allowed in one.constraints.items():
                if name not in request.context:
                    yield Code.CONTEXT_MISSING
                elif not any(
                    isinstance(value, bool) is isinstance(request.context[name], bool)
                    and value == request.context[name]
                    for value in allowed
                ):
                    yield Code.CONTEXT_VIOLATED

    def limits(self, session: Session, request: Request) -> Iterator[Code]:
        """Is the session within every limit?"""
        window = session.expires_at - session.not_before
        entitlement = self.world.one(Entitlement, session.entitlement)
        most = None if entitlement is None else entitlement.max_session_ttl
        if most is not None and window > most:
            yield Code.POLICY_LIMIT
        for policy in self.policies(request):
            limits = policy.limits
            if limits.session_ttl is not None and window > limits.session_ttl:
                yield Code.POLICY_LIMIT
            if limits.idle_timeout is not None and self.now - self.last_use(session) >= limits.idle_timeout:
                yield Code.POLICY_LIMIT
            if limits.delegation_depth is not None and len(self.ancestors(session)[0]) > limits.delegation_depth:
                yield Code.POLICY_LIMIT
            if self.approval_too_long(session, limits):
                yield Code.POLICY_LIMIT

    def approval_too_long(self, session: Session, limits: Limits) -> bool:
        """Whether the approval's window is longer than allowed for its kind."""
        approval = self.world.one(Approval, session.approval)
        if approval is None:
            return False
        most = {
            ApprovalKind.STANDARD: limits.approval_ttl,
            ApprovalKind.BREAK_GLASS: limits.break_glass_ttl,
        }[approval.kind]
        return most is not None and approval.expires_at - approval.not_before > most

    def consent(self, session: Session, request: Request) -> Iterator[Code]:
        """Is there the approval that policies ask for?"""
        record, approval = self.record(request.subject), self.world.one(Approval, session.approval)
        for policy in self.policies(request):
            asked = policy.approval
            if asked is None:
                continue
            if not session.approval:
                yield Code.APPROVAL_REQUIRED
            if approval is None:
                continue
            if approval.kind not in asked.kinds:
                yield Code.APPROVAL_REQUIRED
            if asked.ticket is not None and not asked.ticket.fullmatch(approval.ticket):
                yield Code.TICKET_REQUIRED
            if (approval.kind, approval.state) != (ApprovalKind.STANDARD, ApprovalState.APPROVED):
                continue
            if self.too_few(approval, asked):
                yield Code.APPROVAL_REQUIRED
            if asked.independent and record is not None and self.interested(approval, session, request, record.owner):
                yield Code.APPROVAL_NOT_INDEPENDENT

    def too_few(self, approval: Approval, asked: ApprovalRequirement) -> bool:
        """Whether fewer people have consented than are asked for, if groups are named fewer of those in one of them."""
        consents = [(one.by, one.groups) for one in approval.consents] or [(approval.approved_by, ())]
        groups = asked.groups
        people = {person for person, own in consents if not groups or any(group in groups for group in own)}
        return len(people) < asked.approvers

    def interested(self, approval: Approval, session: Session, request: Request, owner: str) -> bool:
        """Whether anybody who approved has an interest: by name, or as one of the team that owns the identity."""
        people = {approval.approved_by} | {one.by for one in approval.consents}
        identities = {request.subject} | {one.identity for one in self.ancestors(session)[0]}
        teams = {group for one in approval.consents for group in one.groups}
        return bool(people & (identities | {"", approval.requested_by, owner})) or owner in teams

    def variables(self, session: Session | None, request: Request) -> Variables:
        """Return what conditions read."""
        record = self.record(request.subject)
        task = None if session is None else self.world.one(Task, session.task)
        approval = None if session is None else self.world.one(Approval, session.approval)
        return Variables(
            context=request.context,
            signals=self.signals(request.subject, request.session if session is None else session.id),
            owner=None if record is None else record.owner,
            kind=None if record is None else str(record.kind),
            session=None if session is None else session.id,
            task_owner=None if task is None else task.owner,
            approval_kind=None if approval is None else str(approval.kind),
        )

    def signals(self, subject: str, session: str) -> dict[str, Attribute]:
        """Return the live signals: those about the session before those about the subject, the newest first."""
        ordered = sorted(self.world.all(Signal), key=lambda one: (one.revision, one.id))
        about = [one for id_ in (subject, session) for one in ordered if one.about == id_]
        return {one.name: one.value for one in about if self.now < one.expires_at}

    def conditions(self, session: Session | None, request: Request) -> Iterator[Code]:
        """Do the policies' requirements hold, and their deny rules not?"""
        variables = self.variables(session, request)
        for policy in self.policies(request):
            for conditions, expected, code in (
                (policy.requirements, True, Code.CONTEXT_VIOLATED),
                (policy.denials, False, Code.POLICY_DENIED),
            ):
                for condition in conditions:
                    source = condition.program.source
                    if session is None and reads_session(source):
                        continue
                    try:
                        if CONDITIONS[source](variables) is not expected:
                            yield code
                    except MissingError:
                        yield Code.CONTEXT_MISSING
                    except NoTruthError:
                        yield Code.POLICY_ERROR
