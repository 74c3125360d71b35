"""Commands that change facts, or read them out."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.options import Json, Reason
from pdp.cli.terminal import say_hint, show, show_json, show_text
from pdp.cli.trouble import CommandError
from pdp.core.model import AnyFact, FactKind, Instant, RevocationTarget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sessionpdp.v1 import facts_pb2, governance_pb2
    from sessionpdp.v1.governance_pb2_grpc import GovernanceServiceStub


_PAGE = 1000
_FACT_OF = {
    RevocationTarget.SESSION: FactKind.SESSION,
    RevocationTarget.TASK: FactKind.TASK,
    RevocationTarget.APPROVAL: FactKind.APPROVAL,
    RevocationTarget.ENTITLEMENT: FactKind.ENTITLEMENT,
}
"""Targets that are facts by that very id; an identity may also be covered by a pattern."""

_Id: TypeAlias = Annotated[str, typer.Argument(help="Its id.", metavar="ID", show_default=False)]


_IMPORT_HELP = help_text(
    "Write the facts of YAML files, all of them or none.",
    "All problems are found before anything is sent. A fact of the same kind and id is replaced. One import is "
    "one message: the sidecar bounds its facts (10000) and its size (4 MiB).",
    examples=["pdp import facts.yaml", "pdp import --dry-run facts/*.yaml"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def import_(
    door: Door,
    *,
    files: Annotated[list[Path], typer.Argument(help="Facts files.", metavar="FILE", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Have everything checked, write nothing.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Write all facts of the files, or none."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.change_view import imported_json, imported_view
    from pdp.cli.facts_files import placed, read_files
    from pdp.cli.refusals import RefusedError
    from pdp.doors.facts_wire import message_of

    read = read_files(files)
    facts = [each.fact for each in read]
    request = governance_pb2.ApplyFactsRequest(facts=map(message_of, facts), reason=reason, dry_run=dry_run)
    try:
        with administering(door) as governance:
            revision = governance.ApplyFacts(request, timeout=door.timeout_s).revision
    except RefusedError as error:
        raise placed(error, read) from error
    if as_json:
        show_json(imported_json(facts, revision, dry_run=dry_run))
    else:
        show(imported_view(facts, revision, dry_run=dry_run))


_EXPORT_HELP = help_text(
    "Print the facts as YAML that `pdp import` reads.",
    examples=["pdp export > facts.yaml", "pdp export --kind session --kind task"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def export(
    door: Door,
    *,
    kind: Annotated[
        list[FactKind] | None,
        typer.Option("--kind", help="Only facts of this kind; may be given several times.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print facts as a file that `import` reads."""
    from pdp.cli.change_view import fact_json
    from pdp.state.facts_file import dump_facts

    kinds: list[FactKind | None] = [*kind] if kind else [None]
    with administering(door) as governance:
        facts = [fact for one in kinds for fact in _listed(governance, one, door)]
    if as_json:
        show_json({"facts": [fact_json(fact) for fact in facts]})
    else:
        show_text(dump_facts(facts))


_REVOKE_HELP = help_text(
    "Override every grant of an identity, session, task, approval, entitlement, credential, issuer or owner.",
    "In force when the command returns. The target need not be known yet. `--` goes before an id that begins "
    "with a dash.",
    examples=[
        'pdp revoke session session-release-7.4 --reason "INC-7: odd traffic"',
        'pdp revoke owner team-platform --reason "leaving" --effective-at +1h',
    ],
    exits=DOING_EXITS,
)


def _fill_instants(request: governance_pb2.RevokeRequest, given: Mapping[str, str]) -> None:
    for name, text in given.items():
        if text:
            getattr(request, name).FromNanoseconds(_instant(name, text))


@with_options(door=administration_of)
def revoke(
    door: Door,
    *,
    target: Annotated[RevocationTarget, typer.Argument(help="What is revoked.", show_default=False)],
    id_: Annotated[str, typer.Argument(help="Its id; for an identity also a pattern.", metavar="ID")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why; part of the revocation.", metavar="TEXT", show_default=False)
    ],
    effective_at: Annotated[
        str,
        typer.Option("--effective-at", help="From when on, in RFC 3339 or as `+10m`. Without it: now.", metavar="TIME"),
    ] = "",
    expires_at: Annotated[
        str,
        typer.Option(
            "--expires-at", help="When the target would have ended anyway. Without it: never.", metavar="TIME"
        ),
    ] = "",
    source: Annotated[
        str, typer.Option("--source", help="Where this comes from, e.g. an incident.", metavar="TEXT")
    ] = "",
    as_json: Json = False,
) -> None:
    """Revoke a target."""
    from sessionpdp.v1 import facts_pb2, governance_pb2

    from pdp.cli.change_view import revoked_view

    number = facts_pb2.RevocationTarget.Value(f"REVOCATION_TARGET_{target.upper()}")
    request = governance_pb2.RevokeRequest(target=number, target_id=id_, reason=reason, source=source)
    _fill_instants(request, {"effective_at": effective_at, "expires_at": expires_at})
    with administering(door) as governance:
        answer = governance.Revoke(request, timeout=door.timeout_s)
        known = target not in _FACT_OF or _is_known(governance, _FACT_OF[target], id_, door)
    if as_json:
        show_json({"revocation_id": answer.revocation_id, "revision": answer.revision, "target_known": known})
        return
    show(revoked_view(target, id_, answer.revocation_id, answer.revision))
    if not known:
        say_hint(f"no {target} `{id_}` is known; the revocation stands for the day there is one")


_COMPLETE_HELP = help_text(
    "Complete a task, and so end every session of it and of its sub-tasks.",
    examples=["pdp task complete release-7.4"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def complete_task(door: Door, *, id_: _Id, reason: Reason = "", as_json: Json = False) -> None:
    """Complete a task."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.change_view import changed_view

    request = governance_pb2.CompleteTaskRequest(task_id=id_, reason=reason)
    with administering(door) as governance:
        revision = governance.CompleteTask(request, timeout=door.timeout_s).revision
    if as_json:
        show_json({"task_id": id_, "revision": revision})
    else:
        show(changed_view("completed", f"task `{id_}`", revision, "every session of it and of its sub-tasks has ended"))


_CLOSE_HELP = help_text(
    "Close a session, and so every session delegated from it.",
    examples=["pdp session close session-release-7.4"],
    exits=DOING_EXITS,
)


@with_options(door=administration_of)
def close_session(door: Door, *, id_: _Id, reason: Reason = "", as_json: Json = False) -> None:
    """Close a session."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.change_view import changed_view

    request = governance_pb2.CloseSessionRequest(session_id=id_, reason=reason)
    with administering(door) as governance:
        revision = governance.CloseSession(request, timeout=door.timeout_s).revision
    if as_json:
        show_json({"session_id": id_, "revision": revision})
    else:
        show(changed_view("closed", f"session `{id_}`", revision, "every session delegated from it has ended too"))


def _listed(governance: GovernanceServiceStub, kind: FactKind | None, door: Door) -> Iterator[AnyFact]:
    """Yield all facts of a kind, or of all kinds, page by page."""
    from sessionpdp.v1 import governance_pb2

    request = governance_pb2.ListFactsRequest(kind=_number(kind), page_size=_PAGE)
    while True:
        page = governance.ListFacts(request, timeout=door.timeout_s)
        for message in page.facts:
            yield _fact(message)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _fact(message: facts_pb2.Fact) -> AnyFact:
    from pdp.core.lawful_request import Fault
    from pdp.doors.facts_wire import fact_of

    faults: list[Fault] = []
    fact = fact_of(message, "fact", faults)
    if fact is None:
        error = f"the sidecar has a fact that this version cannot read: {faults[0].field}: {faults[0].message}"
        raise CommandError(error)
    return fact


def _number(kind: FactKind | None) -> facts_pb2.FactKind.ValueType:
    from sessionpdp.v1 import facts_pb2

    return facts_pb2.FactKind.Value("FACT_KIND_UNSPECIFIED" if kind is None else f"FACT_KIND_{kind.upper()}")


def _is_known(governance: GovernanceServiceStub, kind: FactKind, id_: str, door: Door) -> bool:
    import grpc
    from sessionpdp.v1 import governance_pb2

    request = governance_pb2.GetFactRequest(kind=_number(kind), id=id_)
    try:
        governance.GetFact(request, timeout=door.timeout_s)
    except grpc.RpcError as error:
        # Whatever else goes wrong here, the revocation is written and that is what must be said.
        return not (isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.NOT_FOUND)
    return True


def _instant(name: str, text: str) -> Instant:
    """Return the instant of an RFC 3339 time, or of `+10m` from now on."""
    import time

    from pdp.state.fields import parse_duration, parse_instant

    try:
        if text.startswith("+"):
            return Instant(time.time_ns() + parse_duration(text[1:]))
        return parse_instant(text)
    except ValueError as error:
        option = "--" + name.replace("_", "-")
        message = f"`{option}`: {error}"
        raise CommandError(message) from None


def add_to(app: typer.Typer, task: typer.Typer, session: typer.Typer) -> None:
    """Add the commands."""
    panel = "Govern"
    app.command("import", help=_IMPORT_HELP, rich_help_panel=panel)(import_)
    app.command("export", help=_EXPORT_HELP, rich_help_panel=panel)(export)
    app.command("revoke", help=_REVOKE_HELP, rich_help_panel=panel)(revoke)
    task.command("complete", help=_COMPLETE_HELP)(complete_task)
    session.command("close", help=_CLOSE_HELP)(close_session)
