"""The answer as a value, with its reasons.

Rule 1: only an answer that says ALLOW, and gives nothing but grants as reasons, is an allow.
Rule 2: whatever else arrives, or fails to arrive, is a deny that says which doubt there was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from google.protobuf import json_format

from sessionpdp.v1 import decision_pb2, reasons_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from google.protobuf import struct_pb2, timestamp_pb2

_CODE_NAMES: Final[Mapping[int, str]] = {
    number: name.removeprefix("REASON_CODE_")
    for name, number in reasons_pb2.ReasonCode.items()
    if number != reasons_pb2.REASON_CODE_UNSPECIFIED
}
# reasons.proto: the hundreds digit is the group, and allow is the group without one.
_FIRST_DENIAL: Final = 100
_ALLOW: Final = decision_pb2.OUTCOME_ALLOW
_DENY: Final = decision_pb2.OUTCOME_DENY


class Doubt(StrEnum):
    """Why no decision was made; codes of this client, which no server sends."""

    PDP_UNREACHABLE = "PDP_UNREACHABLE"
    """No connection, or it broke: the check may or may not have been counted."""
    PDP_TIMEOUT = "PDP_TIMEOUT"
    """No answer within the deadline; an answer that comes later is dropped."""
    PDP_REFUSED = "PDP_REFUSED"
    """The PDP would not decide for this caller, or not now."""
    PDP_ANSWER_INVALID = "PDP_ANSWER_INVALID"
    """The answer does not follow the contract."""


class GuardCode(StrEnum):
    """Why a guard in this process denies on its own account; no server sends these codes."""

    GUARD_MISSING = "GUARD_MISSING"
    """No rule says how to check this method or path."""
    CHECK_INVALID = "CHECK_INVALID"
    """The rule built a check that cannot be asked."""
    OBLIGATION_UNKNOWN = "OBLIGATION_UNKNOWN"
    """The allow obliges the guard to something it has no handler for."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: a code for machines, a message for people, and the fact it is about.

    `code` is a name of reasons.proto without its prefix, `UNKNOWN_<n>` for a number that this client
    does not know, or one of `Doubt` and `GuardCode`. `subject_of_reason` is `kind:id` or empty.
    """

    code: str
    message: str
    subject_of_reason: str = ""


@dataclass(frozen=True, slots=True)
class Obligation:
    """What the enforcement point must do when it lets the action through."""

    type: str
    parameters: Mapping[str, object] = field(hash=False)


class AccessDenied(Exception):  # noqa: N818 - named as users say it; an `…Error` would suggest a fault
    """The action must not happen; `decision` and `reasons` say why.

    `decision.decided` tells a PDP's deny from trouble on the way to it.
    """

    def __init__(self, decision: Decision) -> None:
        """Take the deny that is the reason."""
        super().__init__(decision)
        self.decision = decision

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason, first by precedence; never empty."""
        return self.decision.reasons

    def __str__(self) -> str:
        """Return `CODE: message` of every reason."""
        return "; ".join(f"{reason.code}: {reason.message}" for reason in self.reasons)


@dataclass(frozen=True, slots=True, repr=False)
class Decision:
    """An allow or a deny, why, and what it was computed from.

    Made by the clients, never by their users: `FakePDP` makes them for tests. The properties read the
    answer only when asked, because most callers of thousands of checks a second look at `allowed` alone.
    Texts are empty and times None where the answer says nothing. There is no truth value on purpose:
    `if pdp.check(...)` would pass whatever the answer.
    """

    allowed: bool
    decided: bool
    """False: no decision was made (see `Doubt`), which is a deny all the same."""
    _answer: decision_pb2.Decision
    _own_reason: Reason | None = None

    @classmethod
    def from_wire(cls, answer: decision_pb2.Decision) -> Self:
        """Judge an answer by rules 1 and 2."""
        outcome = answer.outcome
        if outcome == _ALLOW and _only_grants(answer.reasons):
            return cls(allowed=True, decided=True, _answer=answer)
        if outcome == _DENY and answer.reasons:
            return cls(allowed=False, decided=True, _answer=answer)
        return cls.undecided(Doubt.PDP_ANSWER_INVALID, _contradiction(answer))

    @classmethod
    def undecided(cls, doubt: Doubt, message: str) -> Self:
        """Deny because no decision was made."""
        nothing = decision_pb2.Decision()
        return cls(allowed=False, decided=False, _answer=nothing, _own_reason=Reason(doubt, message))

    @classmethod
    def denied(cls, code: GuardCode, message: str) -> Self:
        """Deny on a guard's own account, without asking the PDP."""
        nothing = decision_pb2.Decision()
        return cls(allowed=False, decided=True, _answer=nothing, _own_reason=Reason(code, message))

    def overruled(self, code: GuardCode, message: str) -> Self:
        """Turn into a guard's own deny that keeps the ids of the answer."""
        return replace(self, allowed=False, _own_reason=Reason(code, message))

    def require(self) -> Self:
        """Return the decision if it is an allow, else raise `AccessDenied`."""
        if not self.allowed:
            raise AccessDenied(self)
        return self

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason, first by precedence; never empty."""
        if self._own_reason is not None:
            return (self._own_reason,)
        return reasons_from_wire(self._answer.reasons)

    @property
    def code(self) -> str:
        """Code of the first reason."""
        if self._own_reason is not None:
            return self._own_reason.code
        return code_name(self._answer.reasons[0].code)

    @property
    def decision_id(self) -> str:
        """Name of this decision in journal, span and log; empty if none was made."""
        return self._answer.decision_id

    @property
    def identity_id(self) -> str:
        """Identity record that covers the subject."""
        return self._answer.identity_id

    @property
    def owner(self) -> str:
        """Person or team accountable for the identity."""
        return self._answer.owner

    @property
    def session_id(self) -> str:
        """Session decided under."""
        return self._answer.session_id

    @property
    def task_id(self) -> str:
        """Task that justifies the access."""
        return self._answer.task_id

    @property
    def approval_id(self) -> str:
        """Approval the session rests on."""
        return self._answer.approval_id

    @property
    def ticket(self) -> str:
        """Ticket of the approval."""
        return self._answer.ticket

    @property
    def entitlement_id(self) -> str:
        """Entitlement the session rests on."""
        return self._answer.entitlement_id

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies that applied."""
        return tuple(self._answer.policies)

    @property
    def revision(self) -> int:
        """Position in the change log that the answer was computed from."""
        return self._answer.revision

    @property
    def policy_version(self) -> str:
        """Content version of the policy set."""
        return self._answer.policy_version

    @property
    def trace_id(self) -> str:
        """Trace that the decision's span belongs to, 32 hex digits."""
        return self._answer.trace_id

    @property
    def evaluated_at(self) -> datetime | None:
        """Instant of the decision, in UTC."""
        return instant(self._answer.evaluated_at) if self._answer.HasField("evaluated_at") else None

    @property
    def valid_until(self) -> datetime | None:
        """When to ask again at the latest, in UTC; no licence to remember the answer."""
        return instant(self._answer.valid_until) if self._answer.HasField("valid_until") else None

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """What must be done when the action is let through."""
        return tuple(Obligation(o.type, _mapping(o.parameters)) for o in self._answer.obligations)

    def __bool__(self) -> bool:
        """Refuse: a deny must not pass for true, nor an allow be implied."""
        msg = "a decision has no truth value: use `.allowed` or `.require()`"
        raise TypeError(msg)

    def __hash__(self) -> int:
        """Hash what identifies the decision; the answer itself has no hash."""
        return hash((self.allowed, self.decided, self._answer.decision_id, self._own_reason))

    def __repr__(self) -> str:
        """Return outcome, codes and id."""
        outcome = "allow" if self.allowed else "deny"
        codes = ", ".join(reason.code for reason in self.reasons)
        return f"<Decision {outcome} {codes} {self.decision_id}>".replace(" >", ">")


def code_name(number: int) -> str:
    """Return the name of a reason code, `UNKNOWN_<n>` for one from a newer server."""
    return _CODE_NAMES.get(number) or f"UNKNOWN_{number}"


def reasons_from_wire(reasons: Iterable[decision_pb2.Reason]) -> tuple[Reason, ...]:
    """Return the reasons in the order of the answer."""
    return tuple(Reason(code_name(r.code), r.message, r.subject_of_reason) for r in reasons)


def instant(timestamp: timestamp_pb2.Timestamp) -> datetime:
    """Return the instant in UTC, to the microsecond."""
    return timestamp.ToDatetime(tzinfo=UTC)


def _only_grants(reasons: Sequence[decision_pb2.Reason]) -> bool:
    for reason in reasons:
        if not 0 < reason.code < _FIRST_DENIAL:
            return False
    return bool(reasons)


def _contradiction(answer: decision_pb2.Decision) -> str:
    if answer.outcome not in (_ALLOW, _DENY):
        return f"the answer has unknown outcome `{answer.outcome}`"
    if not answer.reasons:
        return "the answer gives no reason"
    return f"the answer allows and gives reason `{code_name(max(r.code for r in answer.reasons))}`"


def _mapping(struct: struct_pb2.Struct) -> Mapping[str, object]:
    parsed: dict[str, object] = json_format.MessageToDict(struct)
    return parsed
