"""`pdp approval`: consent for a scope and a window; and `pdp break-glass`, for when there is no time for it."""

from __future__ import annotations

import typer

from pdp.cli.governing.lists import add_list
from pdp.cli.governing.verbs import Verb, add_show, add_verb
from pdp.core.model import FactKind
from pdp.governance import commands as c

_DEPLOYER = "spiffe://shop.example/deployer"

VERBS = (
    Verb(
        "request",
        c.RequestApproval,
        done="requested",
        summary="Ask for consent to a scope and a window.",
        example=(
            f"pdp approval request change-1842 --identity {_DEPLOYER} --ticket CHG-1842 \\\n"
            "  --action 'deploy.*' --resource 'cluster:prod/shop/**' --ttl 1h --justification 'release 7.4'"
        ),
        follows="somebody else must approve it: `pdp approval approve`",
        says={"identity": "Identity it is for.", "max_uses": "How often it may be used, over all sessions."},
    ),
    Verb(
        "approve",
        c.Approve,
        done="consented to",
        summary="Consent; where policy asks for several people, as one of them.",
        details="Nobody consents to what they requested, or for an identity that they own or are.",
        example="pdp approval approve change-1842",
    ),
    Verb(
        "reject",
        c.Reject,
        done="rejected",
        summary="Refuse consent.",
        example='pdp approval reject change-1842 --reason "not during the freeze"',
        needs_reason=True,
    ),
    Verb(
        "withdraw",
        c.Withdraw,
        done="withdrawn",
        did="withdrew",
        summary="Take back what was asked for, approved or not.",
        example='pdp approval withdraw change-1842 --reason "postponed"',
        follows="no session is allowed anything under it",
    ),
)

BREAK_GLASS = Verb(
    "take",
    c.TakeBreakGlass,
    done="taken",
    did="took",
    summary="Act in an emergency without consent beforehand: approval, task and session in one step.",
    details="Only where a policy permits it; it is short, loud, and must be reviewed afterwards.",
    example=(
        f"pdp break-glass take --identity {_DEPLOYER} --entitlement deploy-shop --incident INC-7 \\\n"
        "  --action deploy.rollback --resource 'cluster:prod/shop/**' --ttl 15m --reason 'checkout is down'"
    ),
    follows="it is to be reviewed by somebody else: `pdp review list`",
    says={
        "id": "Id of the approval and of the session. Without it: one is made.",
        "task": "Task to act for. Without it: one of the incident's name, opened if need be.",
    },
    needs_reason=True,
)


def add_to(group: typer.Typer, break_glass: typer.Typer) -> None:
    """Add the commands."""
    for verb in VERBS:
        add_verb(group, FactKind.APPROVAL, verb)
    add_list(group, FactKind.APPROVAL, example="--state pending")
    add_show(group, FactKind.APPROVAL, "change-1842")
    add_verb(break_glass, "break-glass", BREAK_GLASS)
