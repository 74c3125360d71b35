"""Reading YAML: what is accepted, what is refused, and where the problem is said to be."""

from __future__ import annotations

import pytest

from pdp.state.document import DocumentError, Problem, parse_yaml, path_text, quote


def problems_of(text: str | bytes, *, max_bytes: int = 1000) -> list[str]:
    """Return the problems of a text that must be refused."""
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text, "facts.yaml", max_bytes=max_bytes)
    return str(caught.value).splitlines()


def test_plain_values_keep_their_types() -> None:
    """Scalars, lists and mappings read as JSON would have them."""
    text = "{a: [1, 0x1f, -2, 1.5, true, null, ~, text], b: {c: '1'}}"
    expected = {"a": [1, 31, -2, 1.5, True, None, None, "text"], "b": {"c": "1"}}
    assert parse_yaml(text, "f").data == expected


def test_a_timestamp_stays_the_text_it_was_written_as() -> None:
    """No digit of a YAML timestamp is lost."""
    assert parse_yaml("at: 2026-03-01T09:00:00.123456789Z", "f").data == {"at": "2026-03-01T09:00:00.123456789Z"}


def test_an_empty_file_is_null() -> None:
    """Nothing at all, or comments only, is null at the start of the file."""
    document = parse_yaml("# nothing here\n", "f")
    assert (document.data, document.position(("a",))) == (None, (1, 1))


def test_an_alias_has_the_value_it_names() -> None:
    """Anchors and aliases are part of the subset."""
    assert parse_yaml("a: &x [1, 2]\nb: *x", "f").data == {"a": [1, 2], "b": [1, 2]}


def test_a_byte_order_mark_is_skipped() -> None:
    """Some editors write one."""
    assert parse_yaml("\ufeffa: 1", "f").data == {"a": 1}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), (1, 1)),
        (("sessions",), (1, 11)),
        (("sessions", 0), (2, 5)),
        (("sessions", 0, "id"), (2, 9)),
        (("sessions", 0, "missing", "deeper"), (2, 5)),
        (("sessions", 7), (1, 11)),
        (("same", 0, "id"), (2, 9)),
        (("same",), (4, 7)),
        ((0,), (1, 1)),
    ],
)
def test_a_position_is_that_of_the_value_or_its_nearest_ancestor(
    path: tuple[str | int, ...], expected: tuple[int, int]
) -> None:
    """Lines and columns count from 1, and an alias is where it is written."""
    document = parse_yaml("sessions: &s\n  - id: s-1\n    task: t-1\nsame: *s\n", "f")
    assert document.position(path) == expected


def test_a_problem_reads_as_file_line_column_path_and_message() -> None:
    """The form editors jump to."""
    document = parse_yaml("sessions:\n  - {id: 1}\n", "facts.yaml")
    assert str(document.problem(("sessions", 0, "id"), "is odd")) == "facts.yaml:2:10: sessions[0].id: is odd"


def test_a_problem_is_one_line_whatever_is_in_it() -> None:
    """Input can neither forge a second problem nor reach a terminal as control characters."""
    assert str(Problem("f", 1, 1, "", "a\nb\x1b[2J")) == "f:1:1: a\\x0ab\\x1b[2J"


def test_a_path_quotes_keys_that_would_mislead() -> None:
    """A dot in a key is not a step."""
    assert path_text(("a", "b.c", 3, "d")) == 'a["b.c"][3].d'


def test_a_long_input_is_shortened_when_quoted() -> None:
    """A message stays readable."""
    assert quote("x" * 500) == f"`{'x' * 120}…`"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "1:5: not valid YAML: mapping values are not allowed in this context"),
        ("a: [1", "2:1: not valid YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("a: 1\na: 2", "2:1: a: key `a` is given twice"),
        ("1: x", "1:1: key `1` is not a string: put it in quotes"),
        ("on: x", "1:1: key `on` is not a string: put it in quotes"),
        ("? [a]\n: b", "1:3: key of a mapping is not a string: put it in quotes"),
        ("a: !secret x", "1:4: a: tag `!secret` is not supported"),
        ("a: !!binary aGk=", "1:4: a: tag `binary` is not supported"),
        ("a: !!set {b: }", "1:4: a: tag `tag:yaml.org,2002:set` is not supported"),
        ("x: &x {}\na: {<<: *x}", "2:5: a: merge keys (`<<`) are not supported"),
        ("a: &x [*x]", "1:8: a[0]: alias `x` names nothing that was written before it"),
        ("a: 0755", "1:4: a: `0755` is not a plain integer of 64 bits: put it in quotes if it is text"),
        ("a: 12:30:45", "1:4: a: `12:30:45` is not a plain integer of 64 bits: put it in quotes if it is text"),
        ("a: .inf", "1:4: a: `.inf` is not a plain, finite number: put it in quotes if it is text"),
        ("--- a\n--- b", "2:1: a file must hold one document only"),
        ("a: \x07", "1:4: the file has a character that YAML does not allow"),
        (b"a: b\nc: \xff", "2:4: the file is not valid UTF-8"),
        ("a: \ud800", "1:4: the file is not valid UTF-8"),
        ("a: " + "x" * 1000, "1:1: the file has 1003 bytes, more than 1000"),
    ],
)
def test_what_is_no_safe_yaml_is_refused_at_its_place(text: str | bytes, expected: str) -> None:
    """Each refusal names line, column and reason."""
    assert problems_of(text) == [f"facts.yaml:{expected}"]


def test_every_problem_of_a_file_is_said_at_once() -> None:
    """An author mends a file in one go."""
    assert len(problems_of("a: 0755\nb: !x 1\na: 3")) == 3


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_deep_nesting_is_refused_early(opening: str) -> None:
    """A million brackets end as a problem, not as a crash."""
    assert "nested deeper than 64 levels" in problems_of(opening * 100_000, max_bytes=1_000_000)[0]


def test_an_alias_cannot_nest_deeper_than_text_could() -> None:
    """The height of what an alias names counts."""
    text = "\n".join(["a0: &a0 []", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 80))])
    assert "nested deeper than 64 levels" in problems_of(text, max_bytes=10_000)[0]


def test_aliases_of_aliases_are_counted_not_expanded() -> None:
    """A few hundred bytes that stand for billions of values are refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than 2000000 values, aliases expanded" in problems_of("\n".join(lines))[0]
