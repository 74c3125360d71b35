"""Commands that write facts as they are, or read them out."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.grouping import with_options
from pdp.cli.helping import DOING_EXITS, help_text
from pdp.cli.manner import Manner, manner_of
from pdp.cli.options import Json
from pdp.cli.terminal import show, show_json, show_text
from pdp.core.model import FactKind

_IMPORT_HELP = help_text(
    "Write the facts of YAML files, all of them or none.",
    "All problems are found before anything is sent. A fact of the same kind and id is replaced. One import is "
    "one message: the sidecar bounds its facts (10000) and its size (4 MiB).",
    examples=["pdp import facts.yaml", "pdp import --dry-run facts/*.yaml"],
    exits=DOING_EXITS,
)


@with_options(manner=manner_of, door=administration_of)
def import_(
    door: Door,
    manner: Manner,
    *,
    files: Annotated[list[Path], typer.Argument(help="Facts files.", metavar="FILE", show_default=False)],
    as_json: Json = False,
) -> None:
    """Write all facts of the files, or none."""
    from sessionpdp.v1 import governance_pb2

    from pdp.cli.change_view import Changed, imported_json, imported_view
    from pdp.cli.facts_files import placed, read_files
    from pdp.cli.refusals import RefusedError
    from pdp.doors.facts_wire import message_of

    read = read_files(files)
    facts = [each.fact for each in read]
    request = governance_pb2.ApplyFactsRequest(
        facts=map(message_of, facts),
        reason=manner.reason,
        dry_run=manner.dry_run,
        idempotency_key=manner.idempotency_key,
    )
    try:
        with administering(door) as governance:
            answer = governance.ApplyFacts(request, timeout=door.timeout_s)
    except RefusedError as error:
        raise placed(error, read) from error
    changed = Changed(answer.revision, facts, already_done=answer.already_done, dry_run=manner.dry_run)
    if as_json:
        show_json(imported_json(changed))
    else:
        show(imported_view(changed))


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
    from pdp.cli.facts_read import listed_facts
    from pdp.state.facts_file import dump_facts

    kinds: list[FactKind | None] = [*kind] if kind else [None]
    with administering(door) as governance:
        facts = [fact for one in kinds for fact in listed_facts(governance, one, door)]
    if as_json:
        show_json({"facts": [fact_json(fact) for fact in facts]})
    else:
        show_text(dump_facts(facts))


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the commands."""
    app.command("import", help=_IMPORT_HELP, rich_help_panel=panel)(import_)
    app.command("export", help=_EXPORT_HELP, rich_help_panel=panel)(export)
