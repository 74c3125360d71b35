"""Conditions: what an expression can say, and what happens when it has no answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pdp.core.model import Attribute, Instant
from pdp.core.policy.cel import (
    AttributeMissingError,
    EvaluationError,
    ExpressionError,
    Program,
    activate,
    timestamp,
)


def holds(source: str, **context: Attribute) -> bool:
    """Evaluate an expression over a context."""
    return Program(source).holds(activate({"context": context}))


def holds_at(source: str, moment: str) -> bool:
    """Evaluate an expression at an instant."""
    seconds = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    return Program(source).holds(activate({"now": timestamp(Instant(seconds * 1_000_000_000))}))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.255.0.1", True), ("11.0.0.0", False), ("2001:db8::1", False)],
)
def test_in_cidr_tells_addresses_apart(address: str, expected: bool) -> None:
    """An address of the other family is simply not in the network."""
    assert holds('in_cidr(context.ip, "10.0.0.0/8")', ip=address) is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-01-10T20:59:59", False),
        ("2026-01-10T21:00:00", True),
        ("2026-01-11T02:59:59", True),
        ("2026-01-11T03:00:00", False),
        ("2026-07-10T20:00:00", True),
        ("2026-07-11T02:00:00", False),
    ],
)
def test_in_hours_crosses_midnight_and_knows_summer_time(moment: str, expected: bool) -> None:
    """22:00 to 04:00 in Berlin; the end is excluded."""
    assert holds_at('in_hours(now, "22:00-04:00", "Europe/Berlin")', moment) is expected


@pytest.mark.parametrize(
    ("days", "expected"),
    [("mon-fri", True), ("sat,sun", False), ("fri-mon", True), ("mon", True), ("tue - thu", False)],
)
def test_on_days_takes_ranges_and_lists(days: str, expected: bool) -> None:
    """A range may wrap around the week; 2 March 2026 is a Monday."""
    assert holds_at(f'on_days(now, "{days}", "UTC")', "2026-03-02T12:00:00") is expected


def test_a_missing_attribute_is_named_by_its_path() -> None:
    """So that the enforcement point knows what to send."""
    with pytest.raises(AttributeMissingError, match=r"^context\.device\.os$"):
        holds('context.device.os == "linux"', device={})


@pytest.mark.parametrize(
    "source", ["context.a > 3", "context.a", 'in_cidr(context.a, "10.0.0.0/8")', "context.a.b == 1", "1 / 0 == 1"]
)
def test_what_has_no_boolean_value_is_an_error(source: str) -> None:
    """Neither true nor false, so the caller denies."""
    with pytest.raises(EvaluationError):
        holds(source, a="text")


def test_a_number_is_no_boolean() -> None:
    """And the message says what came instead."""
    with pytest.raises(EvaluationError, match=r"is `4\.5`, neither true nor false"):
        holds("context.a", a=4.5)


def test_has_asks_before_reading() -> None:
    """The way to make an attribute optional."""
    assert holds("!has(context.a) || context.a == 1")


def test_literals_that_only_look_like_arguments_are_left_alone() -> None:
    """Only calls of the built-in functions with literal arguments are checked at load."""
    assert holds('context.a == \'in_hours(now, "x", "y")\'', a='in_hours(now, "x", "y")')


def test_a_network_with_host_bits_is_refused_at_load() -> None:
    """It is most likely a slip of the mask."""
    with pytest.raises(ExpressionError, match="is not a network"):
        Program('in_cidr(context.ip, "10.1.2.3/8")')


def test_programs_are_equal_by_their_source() -> None:
    """So that a policy given twice can be recognised."""
    assert (Program("true") == Program("true"), Program("true") == Program("!false")) == (True, False)
