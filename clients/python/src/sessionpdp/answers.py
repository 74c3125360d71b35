"""What `explain` and `permissions` answer, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from sessionpdp.decision import Decision, code_name, instant, reasons_from_wire
from sessionpdp.v1 import decision_pb2

if TYPE_CHECKING:
    from datetime import datetime

    from sessionpdp.decision import Reason

_VERDICT_NAMES: Final = {
    decision_pb2.VERDICT_PASSED: "PASSED",
    decision_pb2.VERDICT_FAILED: "FAILED",
    decision_pb2.VERDICT_NOT_REACHED: "NOT_REACHED",
}


@dataclass(frozen=True, slots=True)
class ExplainedCheck:
    """One row of the decision table.

    `verdict` is `PASSED`, `FAILED`, `NOT_REACHED` or `UNKNOWN_<n>`; `facts` are `kind:id`; `message` and
    `remedy` (what would change the verdict) are set when the row failed.
    """

    code: str
    group: str
    verdict: str
    facts: tuple[str, ...]
    message: str
    remedy: str

    @classmethod
    def from_wire(cls, row: decision_pb2.ExplainedCheck) -> Self:
        """Return the row as a value."""
        verdict = _VERDICT_NAMES.get(row.verdict) or f"UNKNOWN_{row.verdict}"
        code = code_name(row.code)
        return cls(code, row.group, verdict, tuple(row.facts), row.message, row.remedy)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with the whole table behind it, in precedence order; no rows if none was made."""

    decision: Decision
    checks: tuple[ExplainedCheck, ...] = ()

    @classmethod
    def from_wire(cls, response: decision_pb2.ExplainResponse) -> Self:
        """Return the response as a value."""
        rows = tuple(ExplainedCheck.from_wire(row) for row in response.checks)
        return cls(Decision.from_wire(response.decision), rows)


@dataclass(frozen=True, slots=True)
class Permission:
    """A pair of patterns a session may use; `conditions` are what policies still ask of a request."""

    action: str
    resource: str
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a session may do now: for display, not for enforcement.

    `reasons` say why there are none, and `decided` is False when the PDP could not be asked.
    """

    permissions: tuple[Permission, ...] = ()
    reasons: tuple[Reason, ...] = ()
    decided: bool = True
    revision: int = 0
    policy_version: str = ""
    evaluated_at: datetime | None = None
    valid_until: datetime | None = None

    @classmethod
    def undecided(cls, doubt: Decision) -> Self:
        """Return no permissions, for the doubt's reasons."""
        return cls(reasons=doubt.reasons, decided=False)

    @classmethod
    def from_wire(cls, response: decision_pb2.ListPermissionsResponse) -> Self:
        """Return the response as a value."""
        return cls(
            permissions=tuple(Permission(p.action, p.resource, tuple(p.conditions)) for p in response.permissions),
            reasons=reasons_from_wire(response.reasons),
            revision=response.revision,
            policy_version=response.policy_version,
            evaluated_at=instant(response.evaluated_at) if response.HasField("evaluated_at") else None,
            valid_until=instant(response.valid_until) if response.HasField("valid_until") else None,
        )
