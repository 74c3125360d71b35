"""`pdp revoke` and `pdp revocation`: what overrides every grant of its target."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.governing.verbs import Verb, add_verb, carry_out
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.manner import Manner
from pdp.cli.options import Json
from pdp.cli.terminal import say_hint, show, show_json
from pdp.core.model import FactKind, RevocationTarget
from pdp.governance import commands as c

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessionpdp.v1.governance_pb2_grpc import GovernanceServiceStub

    from pdp.core.model import AnyFact

_FACT_OF = {
    RevocationTarget.SESSION: FactKind.SESSION,
    RevocationTarget.TASK: FactKind.TASK,
    RevocationTarget.APPROVAL: FactKind.APPROVAL,
    RevocationTarget.ENTITLEMENT: FactKind.ENTITLEMENT,
}
"""Targets that are facts by that very id; an identity may also be covered by a pattern."""

REVOKE = Verb(
    "revoke",
    c.Revoke,
    done="revoked",
    summary="Override every grant of an identity, session, task, approval, entitlement, credential, issuer or owner.",
    details=(
        "In force when the command returns. The target need not be known yet. `--` goes before an id that begins "
        "with a dash."
    ),
    example=(
        'pdp revoke session session-release-7.4 --reason "INC-7: odd traffic"\n'
        'pdp revoke identity spiffe://shop.example/deployer --id inc-7 --reason "INC-7" --source INC-7\n'
        'pdp revoke owner team-platform --reason "leaving" --effective-at +1h'
    ),
    arguments=("target", "target_id"),
    says={"id": "Id of the revocation. Without it: one is made."},
    needs_reason=True,
)

LIFT = Verb(
    "lift",
    c.LiftRevocation,
    done="lifted",
    summary="Take back a revocation. Only by somebody else than who revoked.",
    example='pdp revocation lift inc-7 --reason "INC-7: it was us"',
    follows="what it overrode counts again, as far as it has not ended otherwise",
    needs_reason=True,
)


def _revoke(door: Door, manner: Manner, command: c.Revoke, *, as_json: bool) -> None:
    from pdp.cli.change_view import changed_json, changed_view

    target, id_ = command.target, command.target_id
    with administering(door) as governance:
        changed = carry_out(governance, command, manner, door)
        known = target not in _FACT_OF or _is_known(governance, _FACT_OF[target], id_, door)
    revocation_id = changed.facts[0].id
    if as_json:
        show_json({"revocation_id": revocation_id, "target_known": known, **changed_json(changed)})
        return
    show(changed_view("revoked", f"{target} `{id_}`", changed, f"revocation {revocation_id}"))
    if not known:
        say_hint(f"no {target} `{id_}` is known; a revocation stands for the day there is one")


def _is_known(governance: GovernanceServiceStub, kind: FactKind, id_: str, door: Door) -> bool:
    import grpc
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.facts_read import number_of

    request = governance_pb2.GetFactRequest(kind=number_of(kind), id=id_)
    try:
        governance.GetFact(request, timeout=door.timeout_s)
    except grpc.RpcError as error:
        # Whatever else goes wrong here, the revocation is written and that is what must be said.
        return not (isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.NOT_FOUND)
    return True


_LIST_HELP = help_text(
    "List revocations: those in force, those that are scheduled, and those that are over.",
    examples=["pdp revocation list", "pdp revocation list --target owner --target-id team-platform"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def list_revocations(
    door: Door,
    *,
    target: Annotated[
        RevocationTarget | None, typer.Option("--target", help="Only of this kind of target.", show_default=False)
    ] = None,
    target_id: Annotated[
        str, typer.Option("--target-id", help="Only of this target.", metavar="ID", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """List revocations."""
    from pdp.cli.change_view import fact_json
    from pdp.cli.fact_list_view import revocations_view

    with administering(door) as governance:
        revocations = list(_listed(governance, target, target_id, door))
    if as_json:
        show_json({"revocations": [fact_json(one) for one in revocations]})
    else:
        show(revocations_view(revocations))


def _listed(
    governance: GovernanceServiceStub, target: RevocationTarget | None, target_id: str, door: Door
) -> Iterator[AnyFact]:
    from sessionpdp.v1 import facts_pb2, governance_pb2

    from pdp.cli.facts_read import fact_of_message

    number = facts_pb2.RevocationTarget.Value(f"REVOCATION_TARGET_{(target or 'unspecified').upper()}")
    request = governance_pb2.ListRevocationsRequest(target=number, target_id=target_id)
    while True:
        page = governance.ListRevocations(request, timeout=door.timeout_s)
        for message in page.revocations:
            yield fact_of_message(facts_pb2.Fact(revocation=message))
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def add_to(app: typer.Typer, group: typer.Typer, panel: str) -> None:
    """Add the commands."""
    add_verb(app, FactKind.REVOCATION, REVOKE, _revoke, panel)
    add_verb(group, FactKind.REVOCATION, LIFT)
    group.command("list", help=_LIST_HELP)(list_revocations)
