"""`pdp entitlement`: what an identity is eligible for."""

from __future__ import annotations

import typer

from pdp.cli.governing.lists import add_list
from pdp.cli.governing.verbs import Verb, add_show, add_verb
from pdp.core.model import FactKind
from pdp.governance import commands as c

VERBS = (
    Verb(
        "grant",
        c.GrantEntitlement,
        done="granted",
        summary="Make an identity eligible.",
        details="Eligibility is not access, and it begins when somebody else has certified it.",
        example=(
            "pdp entitlement grant deploy-shop --identity spiffe://shop.example/deployer \\\n"
            "  --action 'deploy.*' --resource 'cluster:prod/shop/**' --max-session-ttl 1h"
        ),
        follows="somebody else must certify it: `pdp entitlement certify`",
        says={"identity": "Identity it is for, or the pattern of a family."},
    ),
    Verb(
        "narrow",
        c.NarrowEntitlement,
        done="narrowed",
        summary="Take from what an identity is eligible for. What is left out stays as it is.",
        example="pdp entitlement narrow deploy-shop --action deploy.start --max-session-ttl 30m",
    ),
    Verb(
        "certify",
        c.CertifyEntitlement,
        done="certified",
        summary="Say that an entitlement is to persist, until a date.",
        details="Only by somebody who neither granted it nor owns the identity; without it, it lapses.",
        example="pdp entitlement certify deploy-shop --until +90d",
    ),
    Verb(
        "remove",
        c.RemoveEntitlement,
        done="removed",
        summary="Take an entitlement away.",
        example='pdp entitlement remove deploy-shop --reason "not used since March"',
        follows="no session under it is allowed anything any more",
    ),
)


def add_to(group: typer.Typer) -> None:
    """Add the commands."""
    for verb in VERBS:
        add_verb(group, FactKind.ENTITLEMENT, verb)
    add_list(group, FactKind.ENTITLEMENT)
    add_show(group, FactKind.ENTITLEMENT, "deploy-shop")
