"""Facts files read together: all their problems at once, and where each fact was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from pdp.cli.refusals import RefusedError
from pdp.cli.trouble import CommandError
from pdp.core.model import KIND_OF, AnyFact
from pdp.state.document import Document, DocumentError, Problem, parse_yaml, quote
from pdp.state.facts_file import decode_facts

_FACT = re.compile(r"facts\[(\d+)\]\.?(.*)")


class PlacedFact(Struct, frozen=True):
    """A fact, and the place it was written at."""

    fact: AnyFact
    place: str
    """`file:line:column`."""


def read_files(files: Sequence[Path]) -> list[PlacedFact]:
    """Return the facts of all files; raise CommandError with every problem in any of them."""
    problems: list[str] = []
    read: list[PlacedFact] = []
    for file in files:
        try:
            read += _read(file)
        except DocumentError as error:
            problems += map(str, error.problems)
    problems += _given_twice(read)
    if problems:
        raise CommandError(*problems, hint="nothing was written")
    if not read:
        message = f"no facts in {', '.join(quote(str(file)) for file in files)}"
        raise CommandError(message)
    return read


def placed(error: RefusedError, read: Sequence[PlacedFact]) -> CommandError:
    """Return a refusal with the place of each fact it is about."""
    if not error.violations:
        return error
    messages = [_placed(violation.field, violation.message, read) for violation in error.violations]
    return CommandError(*messages, hint="nothing was written")


def _placed(field: str, message: str, read: Sequence[PlacedFact]) -> str:
    match = _FACT.fullmatch(field)
    if match is None or int(match[1]) >= len(read):
        return f"{field}: {message}"
    return f"{read[int(match[1])].place}: {match[2]}: {message}"


def _read(file: Path) -> list[PlacedFact]:
    try:
        text = file.read_bytes()
    except OSError as error:
        reason = (error.strerror or "no such file").lower()
        raise DocumentError((Problem(str(file), 1, 1, "", f"cannot be read: {reason}"),)) from None
    document = parse_yaml(text, str(file))
    facts, problems = decode_facts(document, (), document.data)
    if problems:
        raise DocumentError(tuple(problems))
    return [PlacedFact(fact, place) for fact, place in zip(facts, _places(document), strict=True)]


def _places(document: Document) -> Iterator[str]:
    """Yield where each fact of a file without problems begins, in the file's order."""
    data = document.data
    for section, items in data.items() if isinstance(data, dict) else ():
        for number in range(len(items) if isinstance(items, list) else 0):
            line, column = document.position((section, number))
            yield f"{document.source}:{line}:{column}"


def _given_twice(read: Sequence[PlacedFact]) -> Iterator[str]:
    """Yield what two files both say; within one file its reader finds it."""
    first: dict[tuple[str, str], str] = {}
    for one in read:
        kind = KIND_OF[type(one.fact)]
        place = first.setdefault((kind, one.fact.id), one.place)
        if place != one.place:
            yield f"{one.place}: {kind} {quote(one.fact.id)} is given twice, first at {place}"
