"""Whether an answer is the expected one, and if not, in which fields they differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pdp.core.model import Instant
from pdp.core.policy.model import Obligation
from pdp.core.wording import instant_text
from pdp.scenarios.driver import (
    Observed,
    ObservedExplanation,
    ObservedPermission,
    ObservedPermissions,
    ObservedReason,
    ObservedRefusal,
    RefusalRule,
)
from pdp.scenarios.story import Expectation, ExpectedPermissions, ExpectedRefusal, ExpectedRows

_NAMED = ("identity", "owner", "session", "task", "entitlement", "approval", "ticket")
_CARRIED_OUT = "carried out"


class Difference(NamedTuple):
    """A field whose value is not the expected one, both as text."""

    field: str
    expected: str
    actual: str


def differences_of_answer(expected: Expectation, actual: Observed) -> list[Difference]:
    """Compare what the expectation names."""
    primary = actual.reasons[0]
    found = [
        _compared("outcome", expected.outcome, actual.outcome),
        _compared("code", expected.code, primary.code),
        _compared("codes", _codes_text(expected.codes), _codes_text([reason.code for reason in actual.reasons])),
        _contained("message", expected.message, primary.message),
        _compared("about", expected.about, primary.about),
        _compared("policies", _sorted_text(expected.policies), _sorted_text(actual.policies)),
        _compared("valid_until", _until_text(expected.valid_until), _until_text(actual.valid_until) or "none"),
        _compared("obligations", _obligations_text(expected.obligations), _obligations_text(actual.obligations)),
    ]
    found += [_compared(name, getattr(expected, name), getattr(actual, name)) for name in _NAMED]
    return [difference for difference in found if difference is not None]


def differences_of_explanation(expected: ExpectedRows, actual: ObservedExplanation) -> list[Difference]:
    """Compare the rows that failed and, where given, those that were not reached."""
    found = [
        _compared("failed", _codes_text(expected.failed), _codes_text([reason.code for reason in actual.failed])),
        _compared("not_reached", _codes_text(expected.not_reached), _codes_text(actual.not_reached)),
    ]
    return [difference for difference in found if difference is not None]


def differences_of_permissions(expected: ExpectedPermissions, actual: ObservedPermissions) -> list[Difference]:
    """Compare the pairs of patterns and the reasons for there being none."""
    found = [
        _compared("permissions", _pairs_text(expected.permissions), _pairs_text(actual.permissions)),
        _compared("codes", _codes_text(expected.codes), _codes_text([reason.code for reason in actual.reasons])),
    ]
    return [difference for difference in found if difference is not None]


def differences_of_refusal(expected: ExpectedRefusal | None, actual: ObservedRefusal | None) -> list[Difference]:
    """Compare what came of a command; None: it was to be, or has been, carried out."""
    if expected is None and actual is None:
        return []
    if expected is None or actual is None:
        due = _CARRIED_OUT if expected is None else f"refused: {_codes_text(expected.rules)}"
        found = [_compared("outcome", due, _CARRIED_OUT if actual is None else "refused")]
    else:
        rules = actual.rules if expected.complete else actual.rules[:1]
        found = [
            _compared("refused", _codes_text(expected.rules), _codes_text(rules)),
            _contained("message", expected.message, actual.message),
            _contained("remedy", expected.remedy, actual.remedy),
            _compared("about", expected.about, actual.about),
        ]
    return [difference for difference in found if difference is not None]


def refusal_text(refusal: ObservedRefusal) -> tuple[str, ...]:
    """Return a refusal as lines: the first rule with its message, then the other rules."""
    first, *others = refusal.rules
    return (f"{first}: {refusal.message}", *others)


def reasons_text(reasons: Sequence[ObservedReason]) -> tuple[str, ...]:
    """Return reasons as lines: `SESSION_EXPIRED: session `s-1` expired at …`."""
    return tuple(f"{reason.code}: {reason.message}" if reason.message else str(reason.code) for reason in reasons)


def _compared(field: str, expected: str | None, actual: str | None) -> Difference | None:
    if expected is None or expected == actual:
        return None
    return Difference(field, expected or "none", actual or "none")


def _contained(field: str, expected: str | None, actual: str) -> Difference | None:
    if expected is None or expected in actual:
        return None
    return Difference(field, f"… {expected} …", actual or "none")


def _codes_text(codes: Iterable[RefusalRule] | None) -> str | None:
    return None if codes is None else ", ".join(codes)


def _sorted_text(names: Iterable[str] | None) -> str | None:
    return None if names is None else ", ".join(sorted(names))


def _until_text(instant: Instant | None) -> str | None:
    return None if instant is None else instant_text(instant)


def _obligations_text(obligations: Iterable[Obligation] | None) -> str | None:
    return None if obligations is None else ", ".join(sorted(map(_obligation_text, obligations)))


def _obligation_text(obligation: Obligation) -> str:
    if not obligation.parameters:
        return obligation.type
    return f"{obligation.type} {json.dumps(obligation.parameters, sort_keys=True)}"


def _pairs_text(permissions: Iterable[ObservedPermission]) -> str:
    return "; ".join(sorted(map(_pair_text, permissions)))


def _pair_text(permission: ObservedPermission) -> str:
    asked = f" ({', '.join(sorted(permission.conditions))})" if permission.conditions else ""
    return f"{permission.action} on {permission.resource}{asked}"
