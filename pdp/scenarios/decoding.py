"""Parts of one file as structs, with what is wrong with them collected at its place."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from pdp.state.document import Document, Path, Plain, Problem
from pdp.state.fields import decode

_T = TypeVar("_T", bound=Struct)


class Decoding:
    """Decodes parts of a document; nothing is raised until all of it has been read."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        """`problems` are those found so far; further ones are added to them."""
        self.document = document
        self.problems = problems

    def refuse(self, path: Path, message: str) -> None:
        """Note a problem."""
        self.problems.append(self.document.problem(path, message))

    def decode(self, path: Path, type_: type[_T], data: Plain) -> _T | None:
        """Return the struct at the path; None if that fails, with what is wrong noted."""
        value, problems = decode(self.document, path, type_, data)
        self.problems += problems
        return value
