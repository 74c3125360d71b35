"""Laws of reading files: nothing but DocumentError escapes, and times read back as they were rendered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.core.lawful import LAST_INSTANT
from pdp.core.model import Approval, Duration, Entitlement, Identity, Instant, Revocation, Session, Signal, Task
from pdp.state.document import Document, DocumentError, Plain, parse_yaml
from pdp.state.fields import decode, parse_duration, parse_instant, render_duration, render_instant

YAML_TOKENS = st.sampled_from(
    ["a", "b: ", "- ", "\n", "  ", "[", "]", "{", "}", ", ", ": ", "&x ", "*x", "!!int ", "!t ", "? ", "| ", "> "]
) | st.sampled_from(
    [
        "'",
        '"',
        "\\u",
        "<<",
        "1",
        "0x",
        ".5",
        "1e3",
        "~",
        "yes",
        "2026-01-01",
        "---\n",
        "...\n",
        "#",
        "%",
        "\t",
        "\r",
        "é",
    ]
)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["**", "a.*", "b:c/*"])
PLAIN = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


def read(text: str | bytes) -> Document | None:
    """Return the document, or None where it was refused."""
    try:
        return parse_yaml(text, "f")
    except DocumentError as error:
        return None if error.problems else pytest.fail("refused without a problem")


@given(st.text())
def test_no_text_escapes_as_another_error(text: str) -> None:
    """Any text is a document or a DocumentError."""
    read(text)


@given(st.binary())
def test_no_bytes_escape_as_another_error(data: bytes) -> None:
    """Any bytes are a document or a DocumentError."""
    read(data)


@given(st.lists(YAML_TOKENS, max_size=40).map("".join))
def test_no_near_yaml_escapes_as_another_error(text: str) -> None:
    """Text made of YAML's own tokens is a document or a DocumentError."""
    read(text)


@given(
    st.sampled_from([Identity, Entitlement, Approval, Task, Session, Revocation, Signal]),
    st.dictionaries(st.sampled_from([*Session.__struct_fields__, *Approval.__struct_fields__, "x"]), PLAIN),
)
def test_any_mapping_is_a_fact_or_problems(type_: type[Session], data: dict[str, Plain]) -> None:
    """Decoding never raises, and it gives a fact exactly when it has nothing to say."""
    built, problems = decode(parse_yaml("", "f"), (), type_, data)
    assert (built is None) == bool(problems)


@given(st.integers(0, LAST_INSTANT).map(Instant))
def test_an_instant_reads_back_as_rendered(instant: Instant) -> None:
    """Exact to the nanosecond, up to the end of the year 9999."""
    assert parse_instant(render_instant(instant)) == instant


@given(st.integers(1, LAST_INSTANT).map(Duration))
def test_a_duration_reads_back_as_rendered(duration: Duration) -> None:
    """Exact to the nanosecond."""
    assert parse_duration(render_duration(duration)) == duration


@given(st.text())
def test_no_text_is_a_time_by_accident(text: str) -> None:
    """Any text is a time or a ValueError."""
    for parse in (parse_instant, parse_duration):
        try:
            parse(text)
        except ValueError:
            continue
