"""Policy sets, and what is wrong with them, as people and machines read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pdp.cli.decision_view import ALLOW, DENY, FAINT, quoted
from pdp.core.policy.model import Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.wording import duration_text
from pdp.state.document import Problem

if TYPE_CHECKING:
    from rich.console import RenderableType


def policies_json(policies: PolicySet) -> dict[str, object]:
    """Return the names and the content version of a good set."""
    return {
        "good": True,
        "version": policies.version,
        "policies": [policy.name for policy in policies.policies],
        "problems": [],
    }


def problems_json(problems: Sequence[Problem]) -> dict[str, object]:
    """Return every problem with its place."""
    return {
        "good": False,
        "version": None,
        "policies": [],
        "problems": [
            {
                "file": problem.source,
                "line": problem.line,
                "column": problem.column,
                "path": problem.path,
                "message": problem.message,
            }
            for problem in problems
        ],
    }


def problems_view(problems: Sequence[Problem]) -> RenderableType:
    """Return a line for each problem, and how many there are."""
    count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
    return Group(*(quoted(str(problem)) for problem in problems), Text(count, style=DENY))


def policies_view(policies: PolicySet) -> RenderableType:
    """Return each policy with what it matches and what it asks, and the version of the set."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    for heading in ("policy", "matches", "asks"):
        table.add_column(heading, overflow="fold")
    for policy in policies.policies:
        matches = Group(Text(", ".join(policy.actions)), Text(f"on {', '.join(policy.resources)}"))
        table.add_row(Text(policy.name, style="bold"), matches, Text("\n".join(_asks(policy)) or "nothing more"))
    count = len(policies.policies)
    good = Text.assemble(("good ", ALLOW), f"{count} polic{'ies' if count != 1 else 'y'}, version {policies.version}")
    return Group(table, Text(), good)


def _asks(policy: Policy) -> Iterator[str]:
    approval = policy.approval
    if approval is not None:
        independent = "independent " if approval.independent else ""
        ticket = f", ticket {approval.ticket.pattern}" if approval.ticket is not None else ""
        yield f"{independent}approval ({', '.join(sorted(approval.kinds))}{ticket})"
    yield from (f"requires: {condition.name}" for condition in policy.requirements)
    yield from (f"denies: {condition.name}" for condition in policy.denials)
    yield from _limits(policy)
    yield from (f"obliges: {obligation.type}" for obligation in policy.obligations)
    if policy.durable:
        yield "durable evidence"


def _limits(policy: Policy) -> Iterator[str]:
    limits = policy.limits
    spans = {
        "session": limits.session_ttl,
        "idle": limits.idle_timeout,
        "credential age": limits.credential_age,
    }
    yield from (f"{name} at most {duration_text(span)}" for name, span in spans.items() if span is not None)
    if limits.delegation_depth is not None:
        yield f"delegation at most {limits.delegation_depth} deep"
