"""The index that finds policies agrees with the patterns it was made of, value by value."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.core.scope import ActionScope, IdentityScope, ResourceScope, Scope, ScopeIndex

segments = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3)
ends = st.sampled_from([[], ["**"]])
values = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=4)


def agree(kind: type[Scope], patterns: list[str], value: str) -> bool:
    """Whether index and scope say the same about a value."""
    return bool(kind(patterns).covers(value)) is bool(ScopeIndex(kind, [patterns]).covering(value))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(segments, ends), min_size=1, max_size=3), values)
def test_actions(patterns: list[tuple[list[str], list[str]]], value: list[str]) -> None:
    """Segments between dots."""
    assert agree(ActionScope, [".".join(start + end) for start, end in patterns], ".".join(value))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(segments, ends), min_size=1, max_size=3), values)
def test_identities(patterns: list[tuple[list[str], list[str]]], value: list[str]) -> None:
    """Segments between slashes."""
    assert agree(IdentityScope, ["/".join(start + end) for start, end in patterns], "/".join(value))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from("ab*"), st.lists(st.tuples(segments, ends), min_size=1, max_size=3), st.sampled_from("abc"), values
)
def test_resources(kind: str, patterns: list[tuple[list[str], list[str]]], type_: str, value: list[str]) -> None:
    """A type, and segments between slashes."""
    written = [f"{kind}:" + "/".join(start + end) for start, end in patterns]
    assert agree(ResourceScope, written, f"{type_}:" + "/".join(value))
