"""Conditions in CEL, the language of Kubernetes admission, Envoy and IAM conditions.

The only module that knows `cel-expr-python`. Expressions are parsed and type-checked when a policy loads; at the
call they are evaluated over plain values. Besides CEL's standard library an expression has:

    in_cidr(address, network)              in_cidr(context.source_ip, "10.0.0.0/8")
    in_hours(time, "HH:MM-HH:MM", zone)    in_hours(now, "22:00-04:00", "Europe/Berlin"), the end excluded
    on_days(time, "mon-fri", zone)         on_days(now, "sat,sun", "UTC")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeAlias
from zoneinfo import ZoneInfo

from cel_expr_python import cel  # type: ignore[import-untyped]

from pdp.core.model import Attribute, Instant

Variable: TypeAlias = "Attribute | Mapping[str, Attribute] | datetime"
Activation: TypeAlias = cel.Activation

VARIABLES = ("context", "subject", "action", "resource", "session", "task", "approval", "signals", "now")
"""What an expression can read. All are maps of attributes but `now`, the decision's instant."""

_LONGEST_MESSAGE = 200
"""Characters of CEL's word for an error that are passed on; it may quote whatever the context holds."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_COMPILE_ERROR = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_MISSING = re.compile(r'NOT_FOUND: Key not found in map : "(.*)"', re.DOTALL)
_NAMES = re.compile(r"(?<![\w.])(" + "|".join(VARIABLES) + r")\b((?:\s*\.\s*\w+)*)")
_LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
_LITERAL_CALLS = re.compile(
    r"\b(in_cidr|in_hours|on_days)\s*\(\s*[^()\"',]*"
    r",\s*(?:\"(?P<first>[^\"\\]*)\"|'(?P<first_>[^'\\]*)')"
    r"(?:\s*,\s*(?:\"(?P<zone>[^\"\\]*)\"|'(?P<zone_>[^'\\]*)'))?\s*\)"
)
"""Calls of this module's functions with literal arguments, which are checked when the policy loads."""


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
        _check_literals(source)
        bare = _LITERALS.sub('""', source)
        names = [(root, re.sub(r"\s", "", rest)) for root, rest in _NAMES.findall(bare)]
        self.roots = frozenset(root for root, _ in names)
        """The variables it reads, so that no other need be prepared."""
        self._paths = [root + rest for root, rest in names]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def holds(self, activation: Activation) -> bool:
        """Evaluate; raise AttributeMissingError or EvaluationError when there is no true or false."""
        try:
            value = self._expression.eval(activation).plain_value()
        except RuntimeError as error:  # beyond CEL's own bounds, such as its budget of iterations
            raise EvaluationError(str(error)[:_LONGEST_MESSAGE]) from error
        if value is True or value is False:
            return bool(value)
        if isinstance(value, str):  # the binding answers an error with its text
            raise self._error(value)
        message = f"is `{value!r}`"[:_LONGEST_MESSAGE] + ", neither true nor false"
        raise EvaluationError(message)

    def _error(self, message: str) -> Exception:
        missing = _MISSING.fullmatch(message)
        if missing is None:
            return EvaluationError(_worded(message)[:_LONGEST_MESSAGE])
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
    if not source.strip():
        message = "an expression must not be empty"
        raise ExpressionError(message, 1, 1)
    try:
        expression = _ENVIRONMENT.compile(source)
    except RuntimeError as error:
        place = _COMPILE_ERROR.search(str(error))
        if place is None:
            raise ExpressionError(_worded(str(error)), 1, 1) from None
        raise ExpressionError(_worded(place[3]), int(place[1]), int(place[2])) from None
    if expression.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        message = f"must be true or false, but is of type `{expression.return_type().name().lower()}`"
        raise ExpressionError(message, 1, 1)
    return expression


def _worded(message: str) -> str:
    """Return the binding's message in this product's style: lower case, input in backticks, no status names."""
    bare = re.sub(r" \(in container ''\)| \[[A-Z_]+\]$|^[A-Z_]+: ", "", message)
    return re.sub(r"'([^']+)'", r"`\1`", bare[:1].lower() + bare[1:])


def _check_literals(source: str) -> None:
    """Raise ExpressionError for a network, hours, days or a zone that could never be evaluated."""
    inside = [literal.span() for literal in _LITERALS.finditer(source)]
    for call in _LITERAL_CALLS.finditer(source):
        if any(start < call.start() < end for start, end in inside):
            continue
        for group in ("first", "first_", "zone", "zone_"):
            literal = call[group]
            message = None if literal is None else _fault_of_literal(call[1], group, literal)
            if message is not None:
                before = source[: call.start(group)]
                raise ExpressionError(message, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _fault_of_literal(function: str, group: str, literal: str) -> str | None:
    parse, form = _FORMS["zone" if group.startswith("zone") else function]
    try:
        parse(literal)
    except (ValueError, KeyError, OSError):
        return f"`{literal}` is not {form}"
    return None


@lru_cache(maxsize=4096)
def _in_cidr(address: str, network: str) -> bool:
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped  # `::ffff:10.0.0.1` is 10.0.0.1, and must not slip past a rule about it
    return parsed in ip_network(network)


def _in_hours(moment: datetime, hours: str, zone: str) -> bool:
    start, end = _hours(hours)
    local = moment.astimezone(ZoneInfo(zone)).time()
    return start <= local < end if start <= end else local >= start or local < end


def _on_days(moment: datetime, days: str, zone: str) -> bool:
    return moment.astimezone(ZoneInfo(zone)).weekday() in _weekdays(days)


@lru_cache(maxsize=256)
def _hours(text: str) -> tuple[time, time]:
    start, _, end = (part.strip() for part in text.partition("-"))
    if start == end:
        message = f"`{text}` has no length"
        raise ValueError(message)
    return time.fromisoformat(start), time.fromisoformat(end)


@lru_cache(maxsize=256)
def _weekdays(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = (day.strip() for day in part.partition("-"))
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        days.update(day % 7 for day in range(start, end + 1 if end >= start else end + 8))
    return frozenset(days)


_FORMS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "in_cidr": (ip_network, "a network like `10.0.0.0/8`"),
    "in_hours": (_hours, "hours like `22:00-04:00`"),
    "on_days": (_weekdays, "days like `mon-fri` or `sat,sun`"),
    "zone": (ZoneInfo, "a time zone like `Europe/Berlin`"),
}
"""How the literal arguments are read, and how they should look."""


def _function(name: str, parameters: list[cel.Type], implementation: object) -> cel.FunctionDecl:
    overload = cel.Overload(f"{name}_overload", return_type=cel.Type.BOOL, parameters=parameters, impl=implementation)
    return cel.FunctionDecl(name, [overload])


def _environment() -> cel.Env:
    attributes = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    variables = dict.fromkeys(VARIABLES, attributes) | {"now": cel.Type.TIMESTAMP}
    string, moment = cel.Type.STRING, cel.Type.TIMESTAMP
    functions = [
        _function("in_cidr", [string, string], _in_cidr),
        _function("in_hours", [moment, string, string], _in_hours),
        _function("on_days", [moment, string, string], _on_days),
    ]
    return cel.NewEnv(variables=variables, functions=functions)


_ENVIRONMENT = _environment()
