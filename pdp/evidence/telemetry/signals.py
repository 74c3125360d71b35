"""A way out for what records say, and the answers of whoever is at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from pdp.evidence.line.record_json import Document


class Taken(Struct, frozen=True):
    """The collector acknowledged an export."""

    rejected: int = 0
    """Items of it that it has thrown away, by its own account."""
    why: str = ""


class Away(Struct, frozen=True):
    """It did not, but may do so later."""

    why: str


class Refused(Struct, frozen=True):
    """It never will, as long as it gets the same."""

    why: str


Answer: TypeAlias = Taken | Away | Refused
"""What became of an export."""


class Signal(Protocol):
    """One way out: spans, or log records."""

    name: str

    def export(self, told: Sequence[Document]) -> Answer:
        """Send what the records say.

        An error that is raised counts as `Away`; raised again and again at one record alone, as `Refused`.
        """

    def shutdown(self) -> None:
        """Interrupt an export that is under way, and take no more."""
