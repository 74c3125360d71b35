"""Approval: is there the consent that policy asks for, by the right people, in its window?"""

from __future__ import annotations

from pdp.core.case import APPROVAL, REQUIREMENTS, SESSION, Case
from pdp.core.checks.row import Row
from pdp.core.model import ApprovalKind, ApprovalState, Instant, RevocationTarget
from pdp.core.reasons import Code, Denial
from pdp.core.wording import instant_text

_APPROVAL, _BREAK_GLASS = RevocationTarget.APPROVAL, ApprovalKind.BREAK_GLASS
_PENDING, _REJECTED, _WITHDRAWN = ApprovalState.PENDING, ApprovalState.REJECTED, ApprovalState.WITHDRAWN


def required(case: Case) -> Denial | None:
    """A policy asks for an approval; the session has none, or one of another kind."""
    if not case.rules.approvals or case.session is None:
        return None
    approval = case.approval
    for requirement in case.rules.approvals:
        kinds = " or ".join(f"`{kind}`" for kind in sorted(requirement.kinds))
        about = f"policy:{requirement.policy}"
        if not case.session.approval:
            message = f"policy `{requirement.policy}` requires an approval of kind {kinds}"
            return Denial(Code.APPROVAL_REQUIRED, message, about)
        if approval is not None and approval.kind not in requirement.kinds:
            message = (
                f"policy `{requirement.policy}` requires an approval of kind {kinds}, "
                f"approval `{approval.id}` is of kind `{approval.kind}`"
            )
            return Denial(Code.APPROVAL_REQUIRED, message, about)
    return None


def unknown(case: Case) -> Denial | None:
    """The session's approval does not exist, or was given for another identity."""
    session, approval = case.session, case.approval
    if session is None or not session.approval:
        return None
    if approval is None:
        message = f"approval `{session.approval}` is not known"
        return Denial(Code.APPROVAL_UNKNOWN, message, f"approval:{session.approval}")
    if approval.identity and approval.identity != session.identity:
        message = f"approval `{approval.id}` was given for `{approval.identity}`, not `{session.identity}`"
        return Denial(Code.APPROVAL_UNKNOWN, message, f"approval:{approval.id}")
    return None


def pending(case: Case) -> Denial | None:
    """Nobody has decided on it yet."""
    approval = case.approval
    if approval is not None and approval.state is _PENDING:
        return Denial(Code.APPROVAL_PENDING, f"approval `{approval.id}` is pending", f"approval:{approval.id}")
    return None


def rejected(case: Case) -> Denial | None:
    """It was refused."""
    approval = case.approval
    if approval is not None and approval.state is _REJECTED:
        return Denial(Code.APPROVAL_REJECTED, f"approval `{approval.id}` was rejected", f"approval:{approval.id}")
    return None


def revoked(case: Case) -> Denial | None:
    """It was revoked, or withdrawn; a revocation counts also when the approval is not known."""
    session, approval = case.session, case.approval
    if session is None or not session.approval:
        return None
    revocation = case.snapshot.revocation(_APPROVAL, session.approval, case.now)
    if revocation is not None:
        message = f"approval `{session.approval}` is revoked: {revocation.reason}"
        return Denial(Code.APPROVAL_REVOKED, message, f"approval:{session.approval}", revocation)
    if approval is not None and approval.state is _WITHDRAWN:
        return Denial(Code.APPROVAL_REVOKED, f"approval `{approval.id}` was withdrawn", f"approval:{approval.id}")
    return None


def not_started(case: Case) -> Denial | None:
    """Before its window."""
    approval = case.approval
    if approval is not None and case.now < approval.not_before:
        message = f"approval `{approval.id}` starts at {instant_text(approval.not_before)}"
        return Denial(Code.APPROVAL_NOT_STARTED, message, f"approval:{approval.id}")
    return None


def expired(case: Case) -> Denial | None:
    """At or after the end of its window."""
    approval = case.approval
    if approval is not None and approval.expires_at <= case.now:
        message = f"approval `{approval.id}` expired at {instant_text(approval.expires_at)}"
        return Denial(Code.APPROVAL_EXPIRED, message, f"approval:{approval.id}")
    return None


def exhausted(case: Case) -> Denial | None:
    """Used as often as was approved, over all its sessions."""
    approval = case.approval
    if approval is None or approval.max_uses is None:
        return None
    use = case.snapshot.approval_uses.get(approval.id)
    if (0 if use is None else use.count) < approval.max_uses:
        return None
    message = f"approval `{approval.id}` has been used {approval.max_uses} of {approval.max_uses} times"
    return Denial(Code.APPROVAL_EXHAUSTED, message, f"approval:{approval.id}")


def not_independent(case: Case) -> Denial | None:
    """A policy asks for four eyes, and the approver is the requester, the identity or its owner."""
    approval, identity = case.approval, case.identity
    if approval is None:
        return None
    for requirement in case.rules.approvals:
        interested = {approval.requested_by, case.subject, identity.owner if identity is not None else ""}
        if requirement.independent and (approval.approved_by in interested or not approval.approved_by):
            message = (
                f"policy `{requirement.policy}` requires an approver other than requester, identity and owner; "
                f"approval `{approval.id}` was given by `{approval.approved_by}`"
            )
            return Denial(Code.APPROVAL_NOT_INDEPENDENT, message, f"approval:{approval.id}")
    return None


def ticket_required(case: Case) -> Denial | None:
    """A policy asks for a ticket of a form that the approval's is not."""
    approval = case.approval
    if approval is None:
        return None
    for requirement in case.rules.approvals:
        if requirement.ticket is not None and requirement.ticket.fullmatch(approval.ticket) is None:
            shown = f"ticket `{approval.ticket}`" if approval.ticket else "no ticket"
            message = (
                f"policy `{requirement.policy}` requires a ticket like `{requirement.ticket.pattern}`; "
                f"approval `{approval.id}` has {shown}"
            )
            return Denial(Code.TICKET_REQUIRED, message, f"approval:{approval.id}")
    return None


def review_overdue(case: Case) -> Denial | None:
    """A break-glass of this identity has not been reviewed in time, so it gets no further one."""
    approval = case.approval
    if approval is None or approval.kind is not _BREAK_GLASS:
        return None
    for id_ in _reviews(case):
        due = case.snapshot.approvals[id_].review_due
        if due is not None and due <= case.now:
            message = f"review of break-glass approval `{id_}` was due at {instant_text(due)}"
            return Denial(Code.REVIEW_OVERDUE, message, f"approval:{id_}")
    return None


def review_dues(case: Case) -> list[Instant]:
    """Return when the reviews fall due whose lateness would refuse this break-glass; none for other approvals."""
    approval = case.approval
    if approval is None or approval.kind is not _BREAK_GLASS:
        return []
    dues = [case.snapshot.approvals[id_].review_due for id_ in _reviews(case)]
    return [due for due in dues if due is not None]


def _reviews(case: Case) -> tuple[str, ...]:
    """Return the break-glass approvals not yet reviewed of the subject and of who asked for this one."""
    reviews, approval = case.snapshot.reviews, case.approval
    requester = approval.requested_by if approval is not None else ""
    return reviews.get(case.subject, ()) + (reviews.get(requester, ()) if requester != case.subject else ())


ROWS = (
    Row(Code.APPROVAL_REQUIRED, REQUIREMENTS | SESSION, required, "ask for an approval, and open a session under it"),
    Row(Code.APPROVAL_UNKNOWN, SESSION, unknown, "ask for an approval, and open a session under it"),
    Row(Code.APPROVAL_PENDING, APPROVAL, pending, "have the approval decided"),
    Row(Code.APPROVAL_REJECTED, APPROVAL, rejected, "ask for another approval"),
    Row(Code.APPROVAL_REVOKED, SESSION, revoked, "ask for another approval"),
    Row(Code.APPROVAL_NOT_STARTED, APPROVAL, not_started, "wait for the approved window"),
    Row(Code.APPROVAL_EXPIRED, APPROVAL, expired, "ask for another approval"),
    Row(Code.APPROVAL_EXHAUSTED, APPROVAL, exhausted, "ask for another approval"),
    Row(Code.APPROVAL_NOT_INDEPENDENT, REQUIREMENTS | APPROVAL, not_independent, "have somebody without an interest approve"),
    Row(Code.TICKET_REQUIRED, REQUIREMENTS | APPROVAL, ticket_required, "ask for an approval on a ticket of the required form"),
    Row(Code.REVIEW_OVERDUE, APPROVAL, review_overdue, "have the earlier break-glass reviewed"),
)
