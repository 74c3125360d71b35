"""Approvals: consent for a scope and a window, asked for by one person and given by others.

Rule 1: what is asked for could satisfy the policies it is for: window, ticket and kind are judged when it is asked for,
by every policy that overlaps its scope, and again at each decision under it.
Rule 2: it is approved by the person whose consent is the last that these policies ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from pdp.core.checks.approval import consenting
from pdp.core.model import Approval, ApprovalKind, ApprovalState, Consent, Duration, FactKind, Instant, Put
from pdp.core.policy.model import ApprovalRequirement
from pdp.core.policy.rules import Limit, Rules
from pdp.core.reasons import Code
from pdp.core.snapshot import in_force
from pdp.core.wording import second_text
from pdp.governance.commands import Approve, Reject, RequestApproval, Withdraw
from pdp.governance.refusal import Refusal, Refused, Rule, refused
from pdp.governance.roles import Role
from pdp.governance.rules.caps import against_length, against_ticket, asked_of
from pdp.governance.rules.four_eyes import against_interest, requester, ties
from pdp.governance.rules.preconditions import against_taken, in_state, unknown
from pdp.governance.rules.subjects import against_asking, against_identity
from pdp.governance.rules.windows import DEFAULT_TTL
from pdp.governance.view import Plan, View

_PENDING, _APPROVED = ApprovalState.PENDING, ApprovalState.APPROVED
_ASK_AGAIN = "ask for another approval"


def request(command: RequestApproval, view: View) -> Plan | Refused:
    """Ask for consent, in the name of an identity that could act under it."""
    rules = asked_of(command.actions, command.resources, view)
    not_before = view.now if command.not_before is None else command.not_before
    approval = Approval(
        id=command.id,
        identity=command.identity,
        actions=command.actions,
        resources=command.resources,
        ticket=command.ticket,
        justification=command.justification,
        requested_by=view.actor.name,
        not_before=not_before,
        expires_at=Instant(not_before + _ttl(command, rules.approval_ttl)),
        max_uses=command.max_uses,
    )
    against = tuple(_against_request(approval, rules, view))
    return Refused(against) if against else view.plan(Put(approval))


def approve(command: Approve, view: View) -> Plan | Refused:
    """Consent to what somebody else has asked for; where policy asks for several people, as one of them."""
    approval = view.approval(command.approval_id)
    if approval is None:
        return unknown(FactKind.APPROVAL, command.approval_id)
    if approval.state is not _PENDING:
        return in_state(approval, _ASK_AGAIN)
    requirements = asked_of(approval.actions, approval.resources, view).approvals
    against = (
        *_against_being_over(approval, view),
        *against_interest(f"approval:{approval.id}", ties(approval, view), view),
        *_against_consenting(approval, requirements, view),
    )
    if against:
        return Refused(against)
    actor = view.actor
    consent = Consent(by=actor.name, at=view.now, groups=tuple(sorted(actor.groups)))
    consented = replace(approval, consents=(*approval.consents, consent))
    if all(len(consenting(consented, one.groups)) >= one.approvers for one in requirements):
        consented = replace(consented, state=_APPROVED, approved_by=actor.name)
    return view.plan(Put(consented))


def reject(command: Reject, view: View) -> Plan | Refused:
    """Refuse consent to what somebody else has asked for."""
    approval = view.approval(command.approval_id)
    if approval is None:
        return unknown(FactKind.APPROVAL, command.approval_id)
    if approval.state is not _PENDING:
        return in_state(approval, _ASK_AGAIN)
    against = tuple(against_interest(f"approval:{approval.id}", [requester(approval)], view))
    return Refused(against) if against else view.plan(Put(replace(approval, state=ApprovalState.REJECTED)))


def withdraw(command: Withdraw, view: View) -> Plan | Refused:
    """Take back what one has asked for, approved or not; an operator may take back what others have asked for."""
    approval = view.approval(command.approval_id)
    if approval is None:
        return unknown(FactKind.APPROVAL, command.approval_id)
    if approval.requested_by != view.actor.name and Role.OPERATOR not in view.actor.roles:
        message = f"approval `{approval.id}` was not requested by `{view.actor.name}`"
        remedy = "have who requested it or an operator withdraw it"
        return refused(Rule.NOT_YOURS, message, remedy, f"approval:{approval.id}")
    if approval.state not in (_PENDING, _APPROVED):
        return in_state(approval, _ASK_AGAIN)
    return view.plan(Put(replace(approval, state=ApprovalState.WITHDRAWN)))


def _ttl(command: RequestApproval, limit: Limit | None) -> Duration:
    if command.ttl is not None:
        return command.ttl
    return DEFAULT_TTL if limit is None else min(DEFAULT_TTL, Duration(limit.bound))


def _against_request(approval: Approval, rules: Rules, view: View) -> Iterator[Refusal]:
    about = f"approval:{approval.id}"
    yield from against_taken(view.approval(approval.id))
    yield from against_asking(approval.identity, view)
    yield from against_identity(approval.identity, view)
    if not approval.justification.strip():
        yield Refusal(Code.REQUEST_INVALID, "an approval needs a justification", "say what it is needed for", about)
    if approval.expires_at <= view.now:
        message = f"the window would be over since {second_text(approval.expires_at)}"
        yield Refusal(Code.APPROVAL_EXPIRED, message, "ask for a window that is not over", about)
    yield from _against_kind(rules.approvals)
    yield from against_ticket(approval.ticket, rules.approvals)
    yield from against_length("the approval", approval.expires_at - approval.not_before, rules.approval_ttl)


def _against_kind(requirements: Iterable[ApprovalRequirement]) -> Iterator[Refusal]:
    for one in requirements:
        if ApprovalKind.STANDARD not in one.kinds:
            message = f"policy `{one.policy}` takes no approval that is asked for, only break-glass"
            remedy = "break glass, or ask for another scope"
            yield Refusal(Code.APPROVAL_REQUIRED, message, remedy, f"policy:{one.policy}")


def _against_being_over(approval: Approval, view: View) -> Iterator[Refusal]:
    about = f"approval:{approval.id}"
    revocation = in_force(view.snapshot.revoked_approvals.get(approval.id, ()), view.now)
    if revocation is not None:
        message = f"approval `{approval.id}` is revoked: {revocation.reason}"
        yield Refusal(Code.APPROVAL_REVOKED, message, _ASK_AGAIN, about)
    if approval.expires_at <= view.now:
        message = f"the window of approval `{approval.id}` was over at {second_text(approval.expires_at)}"
        yield Refusal(Code.APPROVAL_EXPIRED, message, _ASK_AGAIN, about)


def _against_consenting(
    approval: Approval, requirements: Iterable[ApprovalRequirement], view: View
) -> Iterator[Refusal]:
    """Refuse a second consent of one person, and one that counts for no policy that names groups of approvers."""
    actor = view.actor
    if any(one.by == actor.name for one in approval.consents):
        message = f"`{actor.name}` has consented to approval `{approval.id}` already"
        yield Refusal(Rule.ALREADY_EXISTS, message, "have another person approve", f"approval:{approval.id}")
    naming = [one for one in requirements if one.groups]
    if any(one.groups & actor.groups for one in naming):
        return
    for one in naming:
        groups = " or ".join(f"`{group}`" for group in sorted(one.groups))
        message = f"policy `{one.policy}` requires approvers in {groups}; `{actor.name}` is in none"
        remedy = f"have somebody in {groups} approve"
        yield Refusal(Rule.GROUP_REQUIRED, message, remedy, f"policy:{one.policy}")
