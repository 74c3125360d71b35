"""Commands that read a sidecar's journal, without asking the sidecar."""

# ruff: noqa: PLC0415 - what loads slowly is loaded by the command that needs it

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.connections import DEFAULT_DATA_DIR
from pdp.cli.helping import help_text
from pdp.cli.journal_place import journal_in
from pdp.cli.options import DataDir, Json
from pdp.cli.terminal import show, show_json, show_text
from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdp.evidence.journal.journal_reader import Entry
    from pdp.evidence.seals.signing import PublicKey
    from pdp.evidence.seals.verifying import Verification

_LINES = 10


_TAIL_HELP = help_text(
    "Print the youngest records of the journal: decisions, changes, and events of the sidecar.",
    "With `--json` each line is the record as it stands on disk; docs/evidence.md describes its members.",
    examples=["pdp journal tail --follow", "pdp journal tail --json --after 0 | jq .outcome"],
    exits="0 done or interrupted, 2 error",
)


def tail(
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, until interrupted.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", help="How many of the youngest records.", min=0, metavar="N")
    ] = _LINES,
    after: Annotated[
        int | None,
        typer.Option("--after", help="Instead: all records above this sequence.", min=0, metavar="SEQUENCE"),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Print records."""
    from pdp.cli.journal_view import record_line
    from pdp.evidence.trouble import JournalDamagedError

    directory = journal_in(data_dir)
    try:
        for entry in _entries(directory, lines=lines, after=after, follow=follow):
            if as_json:
                show_text(entry.raw.decode() + "\n")
            else:
                show(record_line(entry.record()))
    except JournalDamagedError as error:
        raise CommandError(str(error), hint="`pdp journal verify` names every broken place") from error
    except KeyboardInterrupt:
        return


_VERIFY_HELP = help_text(
    "Check that every record of the journal is what was written, in order, with none missing, and every seal.",
    "Who can write to the journal's directory can also sign it anew: give the public key from a copy kept elsewhere. "
    "An earlier state of all of it, put back, cannot be told either: compare with a `head.seal` kept elsewhere.",
    examples=["pdp journal verify --data-dir /var/lib/pdp", "pdp journal verify --key /media/audit/signing.pub"],
    exits="0 intact and sealed, or without any record; 1 broken or not sealed; 2 error",
)


def verify(
    *,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="Public key to trust, instead of `signing.pub` beside the journal.", metavar="FILE"),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Check the hash chain and the seals."""
    from pdp.cli.journal_view import verification_view
    from pdp.evidence.seals.verifying import verify as verify_journal
    from pdp.evidence.trouble import SigningKeyError

    try:
        outcome = verify_journal(journal_in(data_dir), None if key is None else _trusted(key))
    except (SigningKeyError, OSError) as error:
        raise CommandError(str(error)) from error
    if as_json:
        show_json(_verification_json(outcome))
    else:
        show(verification_view(outcome, trusted=key is not None))
    raise typer.Exit(int(isinstance(outcome, list) or outcome.unsealed))


def _verification_json(outcome: Verification) -> dict[str, object]:
    """Return what was found; `intact`, `broken`, `sealed` and `unsealed` are always there."""
    from pdp.cli.journal_view import verification_json

    told: dict[str, object] = {"broken": [], "sealed": None, "unsealed": None}  # of a broken one they cannot be told
    if not isinstance(outcome, list):
        last = outcome.first_sequence + outcome.records - 1
        told["unsealed"] = min(outcome.records, max(last - outcome.sealed_until, 0))
    return told | verification_json(outcome)


def _trusted(path: Path) -> PublicKey:
    from pdp.evidence.seals.signing import load_public_key

    key = load_public_key(path)
    if key is None:
        message = f"there is no key at `{path}`"
        raise CommandError(message)
    return key


_DIGEST_HELP = help_text(
    "Print the digest that stands for a masked value in the records of this journal, to search for it.",
    "Equal JSON values have equal digests: `1` is `1.0`, and the order of an object's members says nothing.",
    examples=["pdp journal digest '\"somebody@shop.example\"'", "cat value.json | pdp journal digest -"],
    exits="0 printed, 2 error",
)


def digest(
    value: Annotated[str, typer.Argument(help="The value as JSON; `-` reads it from standard input.", metavar="VALUE")],
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Print a digest."""
    from pdp.evidence.line.masking_key import load_key
    from pdp.evidence.trouble import MaskingKeyError

    try:
        key = load_key(journal_in(data_dir))
    except (MaskingKeyError, OSError) as error:
        raise CommandError(str(error)) from error
    if key is None:
        message = f"the journal in `{data_dir}` masks nothing: it has no key"
        raise CommandError(message, hint="the setting `journal.mask` says what is masked")
    try:
        show_text(key.digest(json.loads(sys.stdin.read() if value == "-" else value)) + "\n")
    except (ValueError, RecursionError) as error:
        message = "the value is not JSON"
        raise CommandError(message, hint="text needs quotes of its own: '\"text\"'") from error


def _entries(directory: Path, *, lines: int, after: int | None, follow: bool) -> Iterator[Entry]:
    from pdp.evidence.journal.journal_reader import tail as tail_journal

    last = after
    if last is None:
        last = 0
        for entry in _youngest(directory, max(lines, 1)):
            last = entry.sequence
            if lines:
                yield entry
        if not follow:
            return
    yield from tail_journal(directory, follow=follow, after=last)


def _youngest(directory: Path, lines: int) -> Iterator[Entry]:
    """Yield the last records; of a long journal only its last segments are read."""
    from pdp.evidence.journal.journal_reader import read
    from pdp.evidence.journal.segments import first_sequence_of, segments_of

    entries: deque[Entry] = deque(maxlen=lines)
    for segment in reversed(segments_of(directory)):
        entries.clear()
        entries.extend(read(directory, first_sequence_of(segment) - 1))
        if len(entries) == lines:
            break
    yield from entries


def add_to(journal: typer.Typer) -> None:
    """Add the commands."""
    journal.command("tail", help=_TAIL_HELP)(tail)
    journal.command("verify", help=_VERIFY_HELP)(verify)
    journal.command("digest", help=_DIGEST_HELP)(digest)
