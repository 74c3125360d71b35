"""The decision table as people and machines read it: what passed in short, what did not in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, DENY, FAINT, decision_json, quoted, reasons_view

if TYPE_CHECKING:
    from rich.console import RenderableType
    from sessionpdp import ExplainedCheck, Explanation

_WORDS = {"PASSED": ("passed", "green"), "FAILED": ("failed", DENY), "NOT_REACHED": ("not reached", "yellow")}


def explanation_json(explanation: Explanation) -> dict[str, object]:
    """Return the decision and every row, by the names of the contract."""
    return {
        "decision": decision_json(explanation.decision),
        "checks": [
            {
                "code": row.code,
                "group": row.group,
                "verdict": row.verdict.lower(),
                "facts": list(row.facts),
                "message": row.message,
                "remedy": row.remedy,
            }
            for row in explanation.checks
        ],
    }


def explanation_view(explanation: Explanation, *, every_row: bool) -> RenderableType:
    """Return the outcome and the table; a group that passed is one line unless every row is wanted."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for group, members in groupby(explanation.checks, lambda row: row.group):
        _add_group(table, group, list(members), every_row=every_row)
    return Group(*reasons_view(explanation.decision), Text(), table)


def _add_group(table: Table, group: str, members: Sequence[ExplainedCheck], *, every_row: bool) -> None:
    label = group
    for verdict, same in groupby(members, lambda row: row.verdict):
        several = list(same)
        if verdict == "FAILED" or every_row:
            for row in several:
                table.add_row(label, _verdict(verdict), _row(row))
                label = ""
        else:
            table.add_row(label, _verdict(verdict), _summary(several))
            label = ""


def _verdict(verdict: str) -> Text:
    return Text(*_WORDS.get(verdict, (verdict.lower(), "yellow")))


def _summary(members: Sequence[ExplainedCheck]) -> Text:
    facts = dict.fromkeys(fact for row in members for fact in row.facts)
    count = f"{len(members)} check{'s' if len(members) != 1 else ''}"
    return Text(f"{count}: {', '.join(facts)}" if facts else count, style=FAINT)


def _row(row: ExplainedCheck) -> Text:
    return Text("\n").join(_lines(row))


def _lines(row: ExplainedCheck) -> Iterator[Text]:
    failed = row.verdict == "FAILED"
    facts = (f"  {', '.join(row.facts)}", FAINT) if row.facts else ""
    yield Text.assemble((row.code, DENY if failed else ""), facts)
    if row.message:
        yield quoted(row.message)
    if row.remedy:
        yield Text.assemble(("to change it: ", ALLOW), quoted(row.remedy))
