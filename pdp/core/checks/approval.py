"""Approval: is there the consent that policy asks for, by the right people, in its window?"""

from __future__ import annotations

from collections.abc import Iterable

from pdp.core.aspects import (
    APPROVAL,
    APPROVAL_NAMED,
    APPROVAL_RULES,
    APPROVAL_USES,
    BREAK_GLASS,
    CONSENT_RULES,
    IDENTITY,
    NO_APPROVAL,
    SESSION,
    UNAPPROVED,
)
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.model import Approval, ApprovalKind, ApprovalState, Instant
from pdp.core.policy.model import ApprovalRequirement
from pdp.core.policy.ticket_form import matches
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import in_force
from pdp.core.wording import instant_text

_PENDING, _REJECTED, _WITHDRAWN = ApprovalState.PENDING, ApprovalState.REJECTED, ApprovalState.WITHDRAWN
_STANDARD = ApprovalKind.STANDARD


def required(case: Case) -> Denial | None:
    """A policy asks for an approval, and the session names none."""
    if case.session.approval:
        return None
    requirement = case.rules.approvals[0]
    message = f"policy `{requirement.policy}` requires an approval of kind {_kinds(requirement)}"
    return Denial(Code.APPROVAL_REQUIRED, message, f"policy:{requirement.policy}")


def of_another_kind(case: Case) -> Denial | None:
    """A policy asks for an approval of another kind."""
    approval = case.approval
    for requirement in case.rules.approvals:
        if approval.kind not in requirement.kinds:
            message = (
                f"policy `{requirement.policy}` requires an approval of kind {_kinds(requirement)}, "
                f"approval `{approval.id}` is of kind `{approval.kind}`"
            )
            return Denial(Code.APPROVAL_REQUIRED, message, f"policy:{requirement.policy}")
    return None


def too_few_consents(case: Case) -> Denial | None:
    """A policy asks for the consent of more people, or of people in its groups."""
    approval = case.approval
    if approval.kind is not _STANDARD or case.aspects & UNAPPROVED:
        return None
    for requirement in case.rules.approvals:
        count = len(consenting(approval, requirement.groups))
        if count < requirement.approvers:
            message = (
                f"policy `{requirement.policy}` requires the consent of {_people(requirement)}, "
                f"approval `{approval.id}` has that of {count}"
            )
            return Denial(Code.APPROVAL_REQUIRED, message, f"policy:{requirement.policy}")
    return None


def consenting(approval: Approval, groups: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the people who have consented; if groups are named, only those in one of them.

    Where consents are not told apart there is that of `approved_by`, of whom no group is known.
    """
    if approval.consents:
        return frozenset(one.by for one in approval.consents if not groups or not groups.isdisjoint(one.groups))
    return frozenset() if groups or not approval.approved_by else frozenset((approval.approved_by,))


def unknown(case: Case) -> Denial | None:
    """The session's approval does not exist."""
    id_ = case.session.approval
    return Denial(Code.APPROVAL_UNKNOWN, f"approval `{id_}` is not known", f"approval:{id_}")


def for_another(case: Case) -> Denial | None:
    """The session's approval was given for another identity."""
    approval, identity = case.approval, case.session.identity
    if not approval.identity or approval.identity == identity:
        return None
    message = f"approval `{approval.id}` was given for `{approval.identity}`, not `{identity}`"
    return Denial(Code.APPROVAL_UNKNOWN, message, f"approval:{approval.id}")


def pending(case: Case) -> Denial | None:
    """Nobody has decided on it yet."""
    id_ = case.approval.id
    if case.approval.state is not _PENDING:
        return None
    return Denial(Code.APPROVAL_PENDING, f"approval `{id_}` is pending", f"approval:{id_}")


def rejected(case: Case) -> Denial | None:
    """It was refused."""
    id_ = case.approval.id
    if case.approval.state is not _REJECTED:
        return None
    return Denial(Code.APPROVAL_REJECTED, f"approval `{id_}` was rejected", f"approval:{id_}")


def withdrawn(case: Case) -> Denial | None:
    """Who asked for it took it back."""
    id_ = case.approval.id
    if case.approval.state is not _WITHDRAWN:
        return None
    return Denial(Code.APPROVAL_REVOKED, f"approval `{id_}` was withdrawn", f"approval:{id_}")


def revoked(case: Case) -> Denial | None:
    """Revoked by id, also when it is not known."""
    id_ = case.session.approval
    revocations = case.snapshot.revoked_approvals.get(id_)
    revocation = None if revocations is None else in_force(revocations, case.now)
    if revocation is None:
        return None
    message = f"approval `{id_}` is revoked: {revocation.reason}"
    return Denial(Code.APPROVAL_REVOKED, message, f"approval:{id_}", revocation)


def not_started(case: Case) -> Denial | None:
    """Before its window."""
    approval = case.approval
    if approval.not_before <= case.now:
        return None
    message = f"approval `{approval.id}` starts at {instant_text(approval.not_before)}"
    return Denial(Code.APPROVAL_NOT_STARTED, message, f"approval:{approval.id}")


def expired(case: Case) -> Denial | None:
    """At or after the end of its window."""
    approval = case.approval
    if case.now < approval.expires_at:
        return None
    message = f"approval `{approval.id}` expired at {instant_text(approval.expires_at)}"
    return Denial(Code.APPROVAL_EXPIRED, message, f"approval:{approval.id}")


def exhausted(case: Case) -> Denial | None:
    """Used as often as was approved, over all its sessions."""
    approval, use = case.approval, case.snapshot.approval_uses.get(case.approval.id)
    most = approval.max_uses or 0
    if (0 if use is None else use.count) < most:
        return None
    message = f"approval `{approval.id}` has been used {most} of {most} times"
    return Denial(Code.APPROVAL_EXHAUSTED, message, f"approval:{approval.id}")


def not_independent(case: Case) -> Denial | None:
    """A policy asks for four eyes, and an approver is the requester, the identity or its owner."""
    approval = case.approval
    if approval.kind is not _STANDARD or case.aspects & UNAPPROVED:
        return None
    approver = _interested_approver(case)
    if approver is None:
        return None
    for requirement in case.rules.approvals:
        if requirement.independent:
            message = (
                f"policy `{requirement.policy}` requires an approver other than requester, identity and owner; "
                f"approval `{approval.id}` was given by `{approver}`"
            )
            return Denial(Code.APPROVAL_NOT_INDEPENDENT, message, f"approval:{approval.id}")
    return None


def _interested_approver(case: Case) -> str | None:
    """Return the first approver who has an interest, also as one of the team that owns the identity; None if none."""
    approval, owner = case.approval, case.identity.owner
    interested: tuple[str, ...] = ("", approval.requested_by, case.subject, owner)
    # The two rare things are looked for only where they are: together they cost a tenth of a decision.
    if case.ancestors:
        interested += tuple(one.identity for one in case.ancestors)
    if approval.approved_by in interested:
        return approval.approved_by
    if not approval.consents:
        return None
    return next((one.by for one in approval.consents if one.by in interested or owner in one.groups), None)


def ticket_required(case: Case) -> Denial | None:
    """A policy asks for a ticket of a form that the approval's is not."""
    approval = case.approval
    for requirement in case.rules.approvals:
        if requirement.ticket is not None and not matches(requirement.ticket, approval.ticket):
            shown = f"ticket `{approval.ticket}`" if approval.ticket else "no ticket"
            message = (
                f"policy `{requirement.policy}` requires a ticket like `{requirement.ticket.pattern}`; "
                f"approval `{approval.id}` has {shown}"
            )
            return Denial(Code.TICKET_REQUIRED, message, f"approval:{approval.id}")
    return None


def review_overdue(case: Case) -> Denial | None:
    """A break-glass of this identity has not been reviewed in time, so it gets no further one."""
    for id_ in sorted(_reviews(case)):
        due = case.snapshot.approvals[id_].review_due
        if due is not None and due <= case.now:
            message = f"review of break-glass approval `{id_}` was due at {instant_text(due)}"
            return Denial(Code.REVIEW_OVERDUE, message, f"approval:{id_}")
    return None


def review_dues(case: Case) -> list[Instant]:
    """Return when the reviews fall due whose lateness would refuse this break-glass; none for other approvals."""
    if not case.aspects & BREAK_GLASS:
        return []
    dues = [case.snapshot.approvals[id_].review_due for id_ in _reviews(case)]
    return [due for due in dues if due is not None]


def _reviews(case: Case) -> tuple[str, ...]:
    """Return the break-glass approvals not yet reviewed of the subject and of who asked for this one."""
    reviews, requester = case.snapshot.reviews, case.approval.requested_by
    return *reviews.get(case.subject, ()), *(reviews.get(requester, ()) if requester != case.subject else ())


def _kinds(requirement: ApprovalRequirement) -> str:
    return _any_of(requirement.kinds)


def _people(requirement: ApprovalRequirement) -> str:
    people = "1 person" if requirement.approvers == 1 else f"{requirement.approvers} people"
    return f"{people} in {_any_of(requirement.groups)}" if requirement.groups else people


def _any_of(words: Iterable[str]) -> str:
    return " or ".join(f"`{word}`" for word in sorted(words))


_ASK = "ask for an approval, and open a session under it"
_ASK_AGAIN = "ask for another approval"

ROWS = (
    Row(Code.APPROVAL_REQUIRED, SESSION | APPROVAL_RULES, required, _ASK),
    Row(Code.APPROVAL_REQUIRED, APPROVAL | APPROVAL_RULES, of_another_kind, _ASK),
    Row(
        Code.APPROVAL_REQUIRED,
        APPROVAL | CONSENT_RULES,
        too_few_consents,
        "have as many people approve as the policy asks for, of its groups",
    ),
    Row(Code.APPROVAL_UNKNOWN, SESSION | NO_APPROVAL, unknown, _ASK),
    Row(Code.APPROVAL_UNKNOWN, SESSION | APPROVAL, for_another, _ASK),
    Row(Code.APPROVAL_PENDING, APPROVAL | UNAPPROVED, pending, "have the approval decided"),
    Row(Code.APPROVAL_REJECTED, APPROVAL | UNAPPROVED, rejected, _ASK_AGAIN),
    Row(Code.APPROVAL_REVOKED, APPROVAL | UNAPPROVED, withdrawn, _ASK_AGAIN),
    Row(Code.APPROVAL_REVOKED, SESSION | APPROVAL_NAMED, revoked, _ASK_AGAIN),
    Row(Code.APPROVAL_NOT_STARTED, APPROVAL, not_started, "wait for the approved window"),
    Row(Code.APPROVAL_EXPIRED, APPROVAL, expired, _ASK_AGAIN),
    Row(Code.APPROVAL_EXHAUSTED, APPROVAL | APPROVAL_USES, exhausted, _ASK_AGAIN),
    Row(
        Code.APPROVAL_NOT_INDEPENDENT,
        APPROVAL | IDENTITY | APPROVAL_RULES,
        not_independent,
        "have somebody without an interest approve",
    ),
    Row(
        Code.TICKET_REQUIRED,
        APPROVAL | APPROVAL_RULES,
        ticket_required,
        "ask for an approval on a ticket of the required form",
    ),
    Row(Code.REVIEW_OVERDUE, APPROVAL | BREAK_GLASS, review_overdue, "have the earlier break-glass reviewed"),
)
