"""`pdp identity`: who there is, and who answers for them."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.governing.lists import add_list
from pdp.cli.governing.verbs import Verb, add_show, add_verb
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import Json
from pdp.cli.terminal import show, show_json
from pdp.core.model import FactKind
from pdp.governance import commands as c

_DEPLOYER = "spiffe://shop.example/deployer"

VERBS = (
    Verb(
        "register",
        c.RegisterIdentity,
        done="registered",
        summary="Make an identity, or a family of them, known.",
        details="An id with `*` or `**` stands for a family, of which the most specific record counts.",
        example=(
            f"pdp identity register {_DEPLOYER} --kind workload --owner team-platform\n"
            "pdp identity register 'spiffe://shop.example/ci/**' --kind ci_job --owner team-build --label tier=build"
        ),
        says={"id": "Its id, e.g. a SPIFFE ID, or the pattern of a family."},
    ),
    Verb(
        "owner",
        c.ChangeOwner,
        done="handed over",
        summary="Have somebody else answer for an identity; take over one whose owner has left.",
        example=f"pdp identity owner {_DEPLOYER} --owner team-delivery",
    ),
    Verb(
        "suspend",
        c.SuspendIdentity,
        done="suspended",
        summary="Stop an identity from acting for the time being.",
        example=f'pdp identity suspend {_DEPLOYER} --reason "INC-7: odd traffic"',
        follows="nothing is allowed to it until it is reinstated",
        needs_reason=True,
    ),
    Verb(
        "reinstate",
        c.ReinstateIdentity,
        done="reinstated",
        summary="Let a suspended identity act again.",
        example=f'pdp identity reinstate {_DEPLOYER} --reason "INC-7 is closed"',
    ),
    Verb(
        "retire",
        c.RetireIdentity,
        done="retired",
        summary="End an identity for good, with its sessions, what it asked for and was given, and its credentials.",
        example=f'pdp identity retire {_DEPLOYER} --credential jti-4711 --reason "replaced by deployer-2"',
        needs_reason=True,
    ),
)

_UNOWNED_HELP = help_text(
    "List the identities that nobody answers for any more. They are denied until somebody takes them over.",
    examples=["pdp identity unowned", "pdp identity owner ID --owner team-delivery"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def unowned(door: Door, *, as_json: Json = False) -> None:
    """List identities without an owner."""
    from sessionpdp.v1 import facts_pb2, governance_pb2

    from pdp.cli.change_view import fact_json
    from pdp.cli.fact_list_view import identities_view
    from pdp.cli.facts_read import fact_of_message

    request = governance_pb2.ListUnownedIdentitiesRequest()
    with administering(door) as governance:
        answer = governance.ListUnownedIdentities(request, timeout=door.timeout_s)
    identities = [fact_of_message(facts_pb2.Fact(identity=one)) for one in answer.identities]
    if as_json:
        show_json({"identities": [fact_json(one) for one in identities], "revision": answer.revision})
    else:
        show(identities_view(identities))


def add_to(group: typer.Typer) -> None:
    """Add the commands."""
    for verb in VERBS:
        add_verb(group, FactKind.IDENTITY, verb)
    group.command("unowned", help=_UNOWNED_HELP)(unowned)
    add_list(group, FactKind.IDENTITY, example="--state active")
    add_show(group, FactKind.IDENTITY, _DEPLOYER)
