"""What a row of the decision table is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from pdp.core.case import Case
from pdp.core.reasons import Code, Denial

Check: TypeAlias = Callable[[Case], Denial | None]
"""A small pure function: a denial, or None."""


class Row(NamedTuple):
    """One rule: the code it denies with, the facts it needs, the check, and what would change its verdict."""

    code: Code
    needs: int
    """Bits of `aspects`: the row is reached only when a case has all of them."""
    check: Check
    remedy: str
