"""Conditions in CEL, the language of Kubernetes admission, Envoy and IAM conditions.

The only module that knows `cel-expr-python`. Expressions are parsed and type-checked when a policy loads; at the
call they are evaluated over plain values. Besides CEL's standard library an expression has:

    in_cidr(address, network)              in_cidr(context.source_ip, "10.0.0.0/8")
    in_hours(time, "HH:MM-HH:MM", zone)    in_hours(now, "22:00-04:00", "Europe/Berlin"), the end excluded
    on_days(time, "mon-fri", zone)         on_days(now, "sat,sun", "UTC")
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TypeAlias
from zoneinfo import ZoneInfo

from cel_expr_python import cel

from pdp.core.model import Attribute, Instant

Variable: TypeAlias = "Attribute | Mapping[str, Attribute] | datetime"
Activation: TypeAlias = cel.Activation

VARIABLES = ("context", "subject", "action", "resource", "session", "task", "approval", "signals", "now")
"""What an expression can read. All are maps of attributes but `now`, the decision's instant."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_COMPILE_ERROR = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_MISSING = re.compile(r'NOT_FOUND: Key not found in map : "(.*)"', re.DOTALL)
_NAMES = re.compile(r"(?<![\w.])(" + "|".join(VARIABLES) + r")\b((?:\s*\.\s*\w+)*)")
_LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')


class ExpressionError(ValueError):
    """An expression that does not compile, with the place inside it (line and column from 1)."""

    def __init__(self, message: str, line: int, column: int) -> None:
        """Keep the place beside the message."""
        super().__init__(message)
        self.line = line
        self.column = column


class AttributeMissingError(LookupError):
    """An expression read an attribute that the request does not have; the message is its path."""


class EvaluationError(ValueError):
    """An expression has no boolean value for this request; the message says why."""


class Program:
    """A compiled condition."""

    __slots__ = ("_expression", "_paths", "roots", "source")

    def __init__(self, source: str) -> None:
        """Parse and type-check; raise ExpressionError."""
        self.source = source
        self._expression = _compile(source)
        bare = _LITERALS.sub('""', source)
        names = [(root, re.sub(r"\s", "", rest)) for root, rest in _NAMES.findall(bare)]
        self.roots = frozenset(root for root, _ in names)
        """The variables it reads, so that no other need be prepared."""
        self._paths = [root + rest for root, rest in names]

    def holds(self, activation: Activation) -> bool:
        """Evaluate; raise AttributeMissingError or EvaluationError when there is no true or false."""
        value = self._expression.eval(activation).plain_value()
        if value is True or value is False:
            return bool(value)
        raise self._error(str(value))

    def _error(self, message: str) -> Exception:
        missing = _MISSING.fullmatch(message)
        if missing is None:
            return EvaluationError(message)
        key = missing.group(1)
        for path in self._paths:
            steps = path.split(".")
            if key in steps[1:]:
                return AttributeMissingError(".".join(steps[: steps.index(key, 1) + 1]))
        return AttributeMissingError(key)


def activate(variables: Mapping[str, Variable]) -> Activation:
    """Prepare variables once for all conditions of a request."""
    return _ENVIRONMENT.Activation(variables)


def timestamp(instant: Instant) -> datetime:
    """Return an instant as CEL's timestamp (microseconds)."""
    return datetime.fromtimestamp(instant // 1_000_000_000, UTC) + timedelta(microseconds=instant // 1000 % 1_000_000)


def _compile(source: str) -> cel.Expression:
    try:
        expression = _ENVIRONMENT.compile(source)
    except RuntimeError as error:
        place = _COMPILE_ERROR.search(str(error))
        if place is None:
            raise ExpressionError(str(error), 1, 1) from None
        raise ExpressionError(place.group(3).removesuffix(" (in container '')"), int(place[1]), int(place[2])) from None
    if expression.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        message = f"must be true or false, but is of type `{expression.return_type().name().lower()}`"
        raise ExpressionError(message, 1, 1)
    return expression


@lru_cache(maxsize=4096)
def _in_cidr(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)


def _in_hours(moment: datetime, hours: str, zone: str) -> bool:
    start, end = _hours(hours)
    local = moment.astimezone(ZoneInfo(zone)).time()
    return start <= local < end if start <= end else local >= start or local < end


def _on_days(moment: datetime, days: str, zone: str) -> bool:
    return moment.astimezone(ZoneInfo(zone)).weekday() in _weekdays(days)


@lru_cache(maxsize=256)
def _hours(text: str) -> tuple[time, time]:
    start, _, end = text.partition("-")
    return time.fromisoformat(start), time.fromisoformat(end)


@lru_cache(maxsize=256)
def _weekdays(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.strip().partition("-")
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        days.update(day % 7 for day in range(start, end + 1 if end >= start else end + 8))
    return frozenset(days)


def _function(name: str, parameters: list[cel.Type], implementation: object) -> cel.FunctionDecl:
    overload = cel.Overload(f"{name}_overload", return_type=cel.Type.BOOL, parameters=parameters, impl=implementation)
    return cel.FunctionDecl(name, [overload])


def _environment() -> cel.Env:
    attributes = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    variables = {name: attributes for name in VARIABLES} | {"now": cel.Type.TIMESTAMP}
    string, moment = cel.Type.STRING, cel.Type.TIMESTAMP
    functions = [
        _function("in_cidr", [string, string], _in_cidr),
        _function("in_hours", [moment, string, string], _in_hours),
        _function("on_days", [moment, string, string], _on_days),
    ]
    return cel.NewEnv(variables=variables, functions=functions)


_ENVIRONMENT = _environment()
