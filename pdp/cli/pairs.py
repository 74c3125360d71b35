"""`name=value` words, and the values people write in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NoReturn, cast

from pdp.cli.trouble import CommandError


def pairs_of(option: str, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each word; raise CommandError for one without either."""
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals:
            message = f"`{option}` must be `key=value`, got `{word}`"
            raise CommandError(message)
        yield name, text


def typed(text: str) -> object:
    """Return the JSON value the text is, or the text itself."""
    try:
        return cast("object", json.loads(text, parse_constant=no_constant))
    except ValueError:
        return text


def no_constant(name: str) -> NoReturn:
    """Refuse `NaN` and `Infinity`, which Python reads but JSON does not have."""
    message = f"`{name}` is not a value of JSON"
    raise ValueError(message)
