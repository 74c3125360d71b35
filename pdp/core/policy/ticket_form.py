"""Regular expressions for tickets that cannot take long.

A ticket is text of whoever asks for an approval, and it is matched at every decision. Python's engine backtracks, so
only forms are taken in which it cannot do so for long: no repeat of anything that itself varies, and few unbounded
repeats beside each other; and only tickets up to a length.
"""

from __future__ import annotations

import re
import re._parser as parser  # type: ignore[import-not-found]  # the only view of a form that is not its text
from collections.abc import Iterable, Iterator

MAX_TICKET = 128
"""Characters of a ticket that can meet any form."""
_MOST_UNBOUNDED = 3
"""Unbounded repeats in one form: with `MAX_TICKET` at most some milliseconds."""
_BOUNDED = 16

_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_VARYING = _REPEATS | {"BRANCH", "GROUPREF", "GROUPREF_EXISTS"}


def fault_of(form: str) -> str:
    """Return why matching a form could take long, or nothing; raise re.error for what is no regular expression."""
    unbounded = 0
    for name, argument in _walk(parser.parse(form)):
        if name not in _REPEATS:
            continue
        _, most, body = argument
        if most > 1 and any(inner in _VARYING for inner, _ in _walk(body)):
            return "repeats something that itself repeats or varies, which can take exponential time"
        unbounded += most > _BOUNDED
    if unbounded > _MOST_UNBOUNDED:
        return f"has {unbounded} unbounded repeats, at most {_MOST_UNBOUNDED} are taken"
    return ""


def matches(form: re.Pattern[str], ticket: str) -> bool:
    """Whether the whole ticket has the form; one that is too long has none."""
    return len(ticket) <= MAX_TICKET and form.fullmatch(ticket) is not None


def _walk(parsed: object) -> Iterator[tuple[str, tuple[int, int, object]]]:
    """Yield every operation of a parsed form by name, with its argument, outermost first."""
    if isinstance(parsed, parser.SubPattern):
        for operation, argument in parsed.data:
            yield str(operation), argument
            yield from _walk(argument)
    elif isinstance(parsed, list | tuple):
        parts: Iterable[object] = parsed
        for part in parts:
            yield from _walk(part)
