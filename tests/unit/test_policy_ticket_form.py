"""Which regular expressions a policy may use for tickets."""

from __future__ import annotations

import re

import pytest

from pdp.core.policy.ticket_form import MAX_TICKET, fault_of, matches


@pytest.mark.parametrize(
    "form", [r"CHG-\d+", r"CHG-\d{4,}", r"(INC|CHG)-\d+", r"[A-Z]{2,8}-\d+(\.\d+)?", r"(ab){3}\d*"]
)
def test_usual_forms_are_taken(form: str) -> None:
    """A prefix, digits, alternatives."""
    assert fault_of(form) == ""


@pytest.mark.parametrize(
    "form",
    [r"(([A-Z]+)-?)+\d+", r"(a+)+", r"(a|aa)+", r"(?:(?:a?){2,9})*b", r"(\w)(\1x?)*", r"\d*\d*\d*\d*", r"((x*))+"],
)
def test_forms_that_backtrack_for_long_are_refused(form: str) -> None:
    """Whatever hides the inner repeat."""
    assert fault_of(form) != ""


def test_a_ticket_that_is_too_long_has_no_form() -> None:
    """So that what is repeated stays short."""
    form = re.compile(r"\d+")
    assert matches(form, "1" * MAX_TICKET)
    assert not matches(form, "1" * (MAX_TICKET + 1))
