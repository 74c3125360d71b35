"""The decision table, the reason codes and the wire contract say the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from sessionpdp.v1 import reasons_pb2

from pdp.core import aspects
from pdp.core.checks import parent
from pdp.core.checks.table import GROUPS, TABLE, checks_reached
from pdp.core.reasons import Code

_AROUND_THE_TABLE = {
    Code.EVIDENCE_UNAVAILABLE,
    Code.OVERLOADED,
    Code.INTERNAL_ERROR,
    Code.REQUEST_INVALID,
}
"""What concerns the sidecar around the decision, or a request that never becomes one."""
_ALLOWS = {Code.GRANTED, Code.GRANTED_BREAK_GLASS}
_ORDER = list(Code)
_BITS = {name: value for name, value in vars(aspects).items() if name.isupper()}


def test_the_rows_stand_in_the_order_of_the_codes() -> None:
    """So the first denial of a case is the first by precedence."""
    places = [_ORDER.index(row.code) for row in TABLE]
    assert places == sorted(places)


def test_every_code_that_the_core_decides_has_a_row() -> None:
    """And no row says yes, or speaks for the sidecar."""
    assert {row.code for row in TABLE} == set(Code) - _AROUND_THE_TABLE - _ALLOWS


def test_every_code_belongs_to_one_group() -> None:
    """Rows of one code stand together."""
    groups = [{row.code for row in rows} for rows in GROUPS.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_every_row_has_a_remedy_and_says_what_it_denies() -> None:
    """A remedy is a phrase of advice; the docstring of a check names what is wrong."""
    assert [row for row in TABLE if not row.remedy or row.remedy.endswith(".") or not row.check.__doc__] == []


def test_no_check_stands_in_two_rows() -> None:
    """One rule, one row."""
    assert len({row.check for row in TABLE}) == len(TABLE)


def test_the_wire_has_exactly_these_codes() -> None:
    """Each by its name, beside `UNSPECIFIED`."""
    names = {name.removeprefix("REASON_CODE_") for name, _ in reasons_pb2.ReasonCode.items()}
    assert names == {code.value for code in Code} | {"UNSPECIFIED"}


def test_the_numbers_of_allows_stand_below_those_of_denials() -> None:
    """So that a client tells an allow's code from a denial's without knowing it."""
    numbers = {code: reasons_pb2.ReasonCode.Value(f"REASON_CODE_{code}") for code in Code}
    assert max(numbers[code] for code in _ALLOWS) < min(numbers[code] for code in Code if code not in _ALLOWS)


def test_an_ancestor_is_judged_by_every_row_of_its_groups() -> None:
    """But the one that judges ancestors: a row added to a group must not be escaped by delegating."""
    groups = ("identity", "session", "task", "entitlement", "approval")
    own = {row for group in groups for row in GROUPS[group]} - {row for row in parent.ROWS if row.check is parent.ended}
    assert own == set(parent.ANCESTOR_ROWS)


def test_the_groups_of_the_table_are_the_hundreds_of_the_wire() -> None:
    """The first group's codes are 100 and up, the second's 200 and up, and so on."""
    for hundreds, rows in enumerate(GROUPS.values(), 1):
        numbers = {reasons_pb2.ReasonCode.Value(f"REASON_CODE_{row.code}") // 100 for row in rows}
        assert numbers == {hundreds}


def test_the_aspects_are_bits_of_their_own() -> None:
    """No two share a bit."""
    bits = sorted(bit for bit in _BITS.values() if bit)
    assert bits == [1 << place for place in range(len(bits))]


def test_a_row_is_reached_exactly_when_a_case_has_what_it_needs() -> None:
    """With everything there all rows are; with nothing, those that need nothing."""
    everything = sum(_BITS.values())
    assert checks_reached(everything) == tuple(row.check for row in TABLE)
    assert checks_reached(0) == tuple(row.check for row in TABLE if not row.needs)


@pytest.mark.parametrize("code", Code)
def test_the_value_of_a_code_is_its_name(code: Code) -> None:
    """The name on the wire, in records and in documents is one."""
    assert code.value == code.name


def test_no_two_groups_overlap_in_precedence() -> None:
    """Each group's codes come after all of the group before."""
    spans = [[_ORDER.index(row.code) for row in rows] for rows in GROUPS.values()]
    assert all(max(earlier) < min(later) for earlier, later in pairwise(spans))
