"""A request as JSON, shaped as in OpenID AuthZEN, with the contract's names for what AuthZEN does not have."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias, cast

from pdp.cli.trouble import CommandError

Given: TypeAlias = "dict[str, object]"
"""Members of a request."""

_MEMBERS: Mapping[str, Mapping[str, type]] = {
    "subject": {"type": str, "id": str, "properties": dict},
    "action": {"name": str, "properties": dict},
    "resource": {"type": str, "id": str, "properties": dict},
    "credential": {"id": str, "issuer": str, "subject": str, "issued_at": str, "expires_at": str},
    "": {
        "subject": dict,
        "action": dict,
        "resource": dict,
        "context": dict,
        "session_id": str,
        "task_id": str,
        "credential": dict,
        "request_id": str,
        "at_least_revision": int,
        "traceparent": str,
    },
}
_CALLED: Mapping[type, str] = {str: "text", dict: "an object", int: "a whole number"}


def read_request(file: str) -> Given:
    """Return the request in the file, or on standard input for `-`; raise CommandError with every problem."""
    source = "standard input" if file == "-" else file
    try:
        document: object = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot read `{file}`: {(error.strerror or 'no such file').lower()}"
        raise CommandError(message) from None
    except ValueError as error:
        message = f"{source} is not JSON: {error}"
        raise CommandError(message) from None
    problems = list(_problems(document, ""))
    if problems:
        raise CommandError(*(f"{source}: {problem}" for problem in problems))
    return cast("Given", document)


def _problems(value: object, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"`{place}` must be an object" if place else "a request must be an object"
        return
    known = _MEMBERS[place]
    for name, member in value.items():
        path = f"{place}.{name}".lstrip(".")
        type_ = known.get(name)
        if type_ is None:
            close = get_close_matches(name, known, n=1)
            yield f"unknown member `{path}`" + (f": did you mean `{close[0]}`?" if close else "")
        elif path in _MEMBERS:
            yield from _problems(member, path)
        elif not isinstance(member, type_) or isinstance(member, bool):
            yield f"`{path}` must be {_CALLED[type_]}"
