"""From plain values to structs: one problem for each bad field."""

from __future__ import annotations

from enum import StrEnum

import pytest
from msgspec import Struct

from pdp.core.model import Approval, Attribute, Duration, Entitlement, Instant, Session
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.state.document import parse_yaml
from pdp.state.fields import decode, parse_duration, parse_instant, render_duration, render_instant

SESSION = """\
id: s-1
identity: spiffe://example.org/a
task: t-1
entitlement: e-1
actions: rows.read
resources: ["database:prod/**"]
not_before: 2026-03-01T09:00:00Z
expires_at: 2026-03-01T10:00:00.000000001Z
idle_timeout: 10m
constraints: {source.network: [prod, {zone: 1}]}
"""


class Colour(StrEnum):
    """Words for a test."""

    RED = "red"
    BLUE = "blue"


class Inner(Struct, frozen=True):
    """A struct inside of another."""

    size: int = 1


class Outer(Struct, frozen=True, rename={"kind": "type"}):
    """A field of every shape."""

    kind: str
    inner: Inner | None = None
    colours: frozenset[Colour] = frozenset()
    numbers: tuple[float, ...] = ()
    either: bool | int | str | list[str] = ""
    by_name: dict[str, Inner] = {}
    anything: Attribute = None
    after: Duration | None = None


def read(type_: type[Struct], text: str) -> tuple[object, list[str]]:
    """Decode a text and return the value and the problems without the file's name."""
    document = parse_yaml(text, "f")
    built, problems = decode(document, (), type_, document.data)
    return built, [str(problem).removeprefix("f:") for problem in problems]


def test_a_fact_is_built_from_its_mapping() -> None:
    """Instants, durations, scopes and constraints arrive in their own types."""
    expected = Session(
        id="s-1",
        identity="spiffe://example.org/a",
        task="t-1",
        entitlement="e-1",
        actions=ActionScope(["rows.read"]),
        resources=ResourceScope(["database:prod/**"]),
        not_before=Instant(1_772_355_600_000_000_000),
        expires_at=Instant(1_772_359_200_000_000_001),
        idle_timeout=Duration(600_000_000_000),
        constraints={"source.network": ["prod", {"zone": 1}]},
    )
    assert read(Session, SESSION) == (expected, [])


def test_fields_of_every_shape_are_read() -> None:
    """Structs, sets, tuples, mappings, unions and renamed fields."""
    text = (
        "{type: x, inner: {size: 2}, colours: [red, blue], numbers: [1, 2.5], either: [a], "
        "by_name: {n: {}}, anything: [{a: null}], after: null}"
    )
    expected = Outer(
        kind="x",
        inner=Inner(2),
        colours=frozenset({Colour.RED, Colour.BLUE}),
        numbers=(1.0, 2.5),
        either=["a"],
        by_name={"n": Inner()},
        anything=[{"a": None}],
    )
    assert read(Outer, text) == (expected, [])


@pytest.mark.parametrize(("written", "expected"), [("true", True), ("1", 1), ("a", "a"), ("[a]", ["a"])])
def test_a_union_takes_the_type_that_was_written(written: str, expected: object) -> None:
    """A truth value is not read as the integer it is to Python."""
    built, _ = read(Outer, f"{{type: x, either: {written}}}")
    assert isinstance(built, Outer)
    assert (type(built.either), built.either) == (type(expected), expected)


def test_each_bad_field_is_one_problem_at_its_place() -> None:
    """Unknown key, missing key, wrong types, words, patterns and times are all said at once."""
    text = """\
id: 12
identiy: a
task: t
entitlement: e
actions: rows.re*
resources: [7]
not_before: 2026-03-01 09:00:00
expires_at: 10
idle_timeout: 10
max_uses: yes
state: opne
"""
    assert read(Session, text) == (
        None,
        [
            "2:10: identiy: unknown key: did you mean `identity`?",
            "1:5: id: must be a string, not an integer: put it in quotes",
            "1:1: identity: is required",
            "5:10: actions: pattern `rows.re*`: `*` must stand alone as a segment",
            "6:13: resources[0]: must be a pattern, not an integer",
            "7:13: not_before: `2026-03-01 09:00:00` has no time zone: add `Z` or an offset like `+01:00`",
            "8:13: expires_at: must be a time, not an integer",
            "9:15: idle_timeout: must be a duration, not an integer",
            "10:11: max_uses: must be an integer, not true or false",
            "11:8: state: must be one of `open`, `closed`, not `opne`",
        ],
    )


def test_problems_inside_of_structs_lists_and_mappings_name_their_path() -> None:
    """The path leads to the part that is wrong."""
    text = "{type: x, inner: {siz: 2}, colours: [red, green], by_name: {a.b: 1}, numbers: 3, after: 0s}"
    assert [problem.split(": ")[1] for problem in read(Outer, text)[1]] == [
        "inner.siz",
        "colours[1]",
        "numbers",
        'by_name["a.b"]',
        "after",
    ]


def test_what_is_no_mapping_is_one_problem() -> None:
    """A list in the place of a fact."""
    assert read(Session, "[1]") == (None, ["1:1: must be a mapping, not a list"])


@pytest.mark.parametrize("field", ["revision", "traceparent"])
def test_what_the_store_writes_cannot_be_given(field: str) -> None:
    """The revision and trace of a fact are the store's to stamp."""
    assert f"{field}: unknown key" in read(Session, f"{SESSION}{field}: 1\n")[1][0]


def test_faults_between_fields_are_said_at_the_field() -> None:
    """What `lawful` finds is a problem like any other."""
    text = SESSION.replace("2026-03-01T10", "2026-03-01T08") + "parent: s-1\nmax_uses: 0\n"
    assert read(Session, text) == (
        None,
        [
            "12:11: max_uses: must be between 1 and 9223372036854775807",
            "8:13: expires_at: must be after `not_before`",
            "11:9: parent: session `s-1` must not be its own parent",
        ],
    )


def test_an_approval_defaults_to_pending() -> None:
    """What is left out has the default of the model."""
    text = (
        "{id: a, requested_by: requester, actions: a, resources: 'b:c', not_before: 2026-03-01T09:00:00Z, "
        "expires_at: '2026-03-01T09:00:00.5+00:00'}"
    )
    built, problems = read(Approval, text)
    assert isinstance(built, Approval)
    assert (problems, built.state, built.expires_at - built.not_before) == ([], "pending", 500_000_000)


def test_an_entitlement_names_identities_by_pattern() -> None:
    """A single pattern needs no list."""
    built, _ = read(Entitlement, "{id: e, identity: 'spiffe://example.org/ci/**', actions: ['**'], resources: ['**']}")
    assert isinstance(built, Entitlement)
    assert built.identity == IdentityScope(["spiffe://example.org/ci/**"])


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01t01:00:00.5+01:00", 500_000_000),
        ("1970-01-01 00:00:01z", 1_000_000_000),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999_999),
    ],
)
def test_an_instant_is_exact_to_the_nanosecond(text: str, nanoseconds: int) -> None:
    """Any offset, any number of digits up to nine."""
    assert parse_instant(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-03-01", "`2026-03-01` is not a time like `2026-03-01T09:00:00Z`"),
        ("2026-03-01T09:00:00", "`2026-03-01T09:00:00` has no time zone: add `Z` or an offset like `+01:00`"),
        ("2026-02-30T09:00:00Z", "`2026-02-30T09:00:00Z` is not a time that exists"),
        ("2026-02-01T09:00:00+99:00", "`2026-02-01T09:00:00+99:00` is not a time that exists"),
        ("0001-01-01T00:00:00+01:00", "`0001-01-01T00:00:00+01:00` does not lie in the years 1970 to 9999"),
        ("1969-12-31T23:59:59Z", "`1969-12-31T23:59:59Z` does not lie in the years 1970 to 9999"),
    ],
)
def test_what_is_no_instant_says_why(text: str, message: str) -> None:
    """A time without a zone above all."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        parse_instant(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1h30m", 5_400 * 10**9), ("90s", 90 * 10**9), ("250ms", 250 * 10**6), ("2d", 172_800 * 10**9), ("1us1ns", 1001)],
)
def test_a_duration_is_a_sum_of_units(text: str, nanoseconds: int) -> None:
    """From days down to nanoseconds, the larger unit first."""
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "10", "m", "1m1h", "-1s", "1.5s", "1 h", "٣s", "999999999999d"])
def test_what_is_no_positive_duration_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="is not a duration like `1h30m`, `90s` or `250ms`"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0m0s"])
def test_a_duration_of_nothing_is_refused_as_too_short(text: str) -> None:
    """It is well written, so that saying how to write one would not help."""
    with pytest.raises(ValueError, match="must be longer than 0s"):
        parse_duration(text)


def test_times_are_rendered_as_they_are_read() -> None:
    """The written form of a value is its own inverse."""
    assert (render_instant(parse_instant("2026-03-01T09:00:00.25Z")), render_duration(parse_duration("1h1ms1ns"))) == (
        "2026-03-01T09:00:00.25Z",
        "1h1ms1ns",
    )
