"""What policies ask of a scope before anything happens in it.

Rule 1: every policy that has something in common with the scope is asked; a scope that reaches into two policies
keeps to the tighter of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pdp.core.policy.model import ApprovalRequirement
from pdp.core.policy.rules import Limit, Rules, merge
from pdp.core.policy.ticket_form import matches
from pdp.core.reasons import Code
from pdp.core.scope import ActionScope, ResourceScope
from pdp.core.wording import duration_text
from pdp.governance.refusal import Refusal
from pdp.governance.view import View


def asked_of(actions: ActionScope, resources: ResourceScope, view: View) -> Rules:
    """Return what all the policies that overlap a scope ask for together."""
    return merge(view.snapshot.policies.overlapping(actions, resources))


def against_length(what: str, ttl: int, limit: Limit | None) -> Iterator[Refusal]:
    """Refuse a window that is longer than a policy allows."""
    if limit is not None and ttl > limit.bound:
        allowed = duration_text(limit.bound)
        message = f"{what} would last {duration_text(ttl)}, policy `{limit.policy}` allows {allowed}"
        yield Refusal(Code.POLICY_LIMIT, message, f"ask for at most {allowed}", f"policy:{limit.policy}")


def against_ticket(ticket: str, requirements: Iterable[ApprovalRequirement]) -> Iterator[Refusal]:
    """Refuse a ticket that is not of the form a policy asks for."""
    for one in requirements:
        if one.ticket is not None and not matches(one.ticket, ticket):
            shown = f"ticket `{ticket}` is not of that form" if ticket else "none is given"
            message = f"policy `{one.policy}` requires a ticket like `{one.ticket.pattern}`; {shown}"
            remedy = f"name a ticket like `{one.ticket.pattern}`"
            yield Refusal(Code.TICKET_REQUIRED, message, remedy, f"policy:{one.policy}")
