"""How people read the records of administration."""

from __future__ import annotations

import pytest
from rich.console import Console

from pdp.cli.journal_view import Record, record_line

WHEN: Record = {"v": 1, "seq": 7, "time": "2026-03-01T09:00:00.000000000Z"}


def told(record: Record) -> str:
    """Return the line of a record, without its place and time."""
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(record_line({**WHEN, **record}))
    return captured.get().split("Z  ", 1)[1].strip()


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            {"method": "GetFact", "actor": "security", "role": "auditor", "outcome": "permitted"},
            "admin   permitted  GetFact by security",
        ),
        (
            {"method": "OpenTask", "actor": "security", "outcome": "permitted", "message": "dry run"},
            "admin   permitted  OpenTask by security  dry run",
        ),
        (
            {
                "method": "Approve",
                "actor": "change-manager",
                "outcome": "refused",
                "rule": "FOUR_EYES",
                "message": "no",
            },
            "admin   refused  Approve by change-manager  FOUR_EYES  no",
        ),
        (
            {"method": "Revoke", "outcome": "not_permitted", "message": "no token"},
            "admin   not permitted  Revoke by nobody known  no token",
        ),
    ],
)
def test_a_call_says_what_became_of_it_and_who_called(record: Record, line: str) -> None:
    """And where it was turned away, why."""
    assert told({"kind": "administration", **record}) == line


def test_a_change_says_who_made_it_by_which_method() -> None:
    """And why."""
    change: Record = {"op": "put", "kind": "task", "id": "t-1"}
    record: Record = {"kind": "change", "revision": 3, "changes": [change], "method": "OpenTask"}
    who: Record = {"actor": "release-manager", "reason": "CHG-7"}
    assert told({**record, **who}) == "change  revision 3  put task:t-1  OpenTask by release-manager  (CHG-7)"


def test_a_change_without_a_call_names_no_method() -> None:
    """As one that a crash had kept from the journal."""
    assert told({"kind": "change", "revision": 3, "changes": []}) == "change  revision 3"
