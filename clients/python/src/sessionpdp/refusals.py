"""What a gRPC error means for a caller that wanted a change: one small tree, and one table.

A refusal is an answer: it names the rule, and what would satisfy it. The others say that there was none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from sessionpdp.status_details import StatusDetails
from sessionpdp.trouble import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# ruff: noqa: N818 - named as users say them

_REFUSED: Final = frozenset({"CHANGE_REFUSED", "FACT_NOT_FOUND"})
"""`ErrorInfo.reason` of a refusal; its status tells callers of no language in particular what kind it is."""
_NOT_FOUND: Final = "NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that stands against a command: what is wrong and what would satisfy it, and `kind:id` it is about."""

    rule: str
    about: str
    description: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One bad field of a command."""

    field: str
    message: str


class GovernanceError(Exception):
    """No change was made, or none that is known of: every error of `Governance` and `Evidence` is one of these."""


class InvalidCommand(GovernanceError, ValueError):
    """The command cannot be asked as it stands: a mistake of the calling code; `faults` name the fields."""

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        """Take what to say, and the fields at fault."""
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, field: str, message: str) -> InvalidCommand:
        """Return the error for one field."""
        return cls(f"`{field}` {message}", (Fault(field, message),))


class NotAuthenticated(GovernanceError):
    """The token or certificate is not accepted, or there is none."""


class NotPermitted(GovernanceError):
    """The principal has none of the `roles` that permit this."""

    def __init__(self, message: str, roles: Sequence[str] = ()) -> None:
        """Take what to say, and the roles that would permit it."""
        super().__init__(message)
        self.roles = tuple(roles)


class CommandRefused(GovernanceError):
    """A rule stands against the command; nothing was changed.

    `rule` is a reason code, or a rule of docs/refusals.md; `remedy` is what would satisfy it, `about` the fact or
    policy it is about, as `kind:id`. `violations` has every rule that refused, this one first.
    """

    def __init__(
        self, rule: str, message: str, remedy: str = "", about: str = "", violations: Sequence[Violation] = ()
    ) -> None:
        """Take the first refusal in parts, and all of them."""
        super().__init__(f"{rule}: {message}; {remedy}" if remedy else f"{rule}: {message}")
        self.rule = rule
        self.message = message
        self.remedy = remedy
        self.about = about
        self.violations = tuple(violations)


class FactNotFound(CommandRefused):
    """The fact or record named does not exist."""


class GovernanceUnavailable(GovernanceError):
    """No answer, or not now; a command may or may not have been carried out.

    Send it again under the same idempotency key. `status` is the name of the gRPC status.
    """

    def __init__(self, status: str, message: str) -> None:
        """Take the status and what was said."""
        super().__init__(f"{status}: {message}")
        self.status = status


def trouble_of(error: grpc.RpcError) -> GovernanceError:
    """Return what the error means."""
    status, message = status_of(error)
    details = StatusDetails.of(
        error.trailing_metadata() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
    )
    if details.reason in _REFUSED:
        return _refusal(message, details)
    meaning = _MEANINGS.get(status)
    return GovernanceUnavailable(status.name, message) if meaning is None else meaning(message, details)


def _refusal(message: str, details: StatusDetails) -> CommandRefused:
    about, remedy = details.metadata.get("about", ""), details.metadata.get("remedy", "")
    violations = [Violation(*violation) for violation in details.violations]
    # Queries have no rules: what they do not find is said by the reason alone.
    rule = details.metadata.get("rule") or (_NOT_FOUND if details.reason == "FACT_NOT_FOUND" else details.reason)
    kind = FactNotFound if rule == _NOT_FOUND else CommandRefused
    return kind(rule, message.removesuffix(f"; {remedy}"), remedy, about, violations)


def _invalid(message: str, details: StatusDetails) -> GovernanceError:
    return InvalidCommand(message, [Fault(*fault) for fault in details.faults])


def _not_permitted(message: str, details: StatusDetails) -> GovernanceError:
    return NotPermitted(message, details.metadata.get("roles", "").replace(",", " ").split())


# Not listed: no answer, or a transient one.
_MEANINGS: Final[Mapping[grpc.StatusCode, Callable[[str, StatusDetails], GovernanceError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: _invalid,
    grpc.StatusCode.UNAUTHENTICATED: lambda message, _: NotAuthenticated(message),
    grpc.StatusCode.PERMISSION_DENIED: _not_permitted,
    grpc.StatusCode.FAILED_PRECONDITION: _refusal,
    grpc.StatusCode.NOT_FOUND: _refusal,
}
