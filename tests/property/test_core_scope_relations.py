"""How patterns relate agrees with brute force: with every value that small alphabets of segments can spell.

Values are up to one segment longer than any pattern, and one letter is in no pattern, so that what a pattern covers
beyond another shows. Values are compared as segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.core.policy.model import Limits, Policy
from pdp.core.policy.rules import PolicySet
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope, Scope
from pdp.core.scope_relations import outside, overlap
from tests.property.core_worlds import laws
from tests.property.reference_world import matches, split

KINDS: Sequence[type[Scope]] = (ActionScope, ResourceScope, IdentityScope)
LETTERS, IN_NO_PATTERN, LONGEST = ("a", "b"), "c", 3


Value: TypeAlias = tuple[str, ...]
"""The segments of a value, also none at all: that alone tells `**` from `*.**`."""

VALUES: Sequence[Value] = [
    segments for length in range(LONGEST + 2) for segments in product((*LETTERS, IN_NO_PATTERN), repeat=length)
]


@cache
def patterns(kind: type[Scope]) -> tuple[str, ...]:
    """Return every pattern of the kind: literals and stars, with and without a final `**`."""
    stems = [stem for length in range(1, LONGEST + 1) for stem in product((*LETTERS, "*"), repeat=length)]
    ends = [(*stem, "**") for stem in stems if len(stem) < LONGEST]
    shortest = 2 if kind is ResourceScope else 1
    return ("**", *(spelled(kind, segments) for segments in stems + ends if len(segments) >= shortest))


def spelled(kind: type[Scope], segments: Sequence[str]) -> str:
    """Join segments as the kind does."""
    first, rest = kind.SEPARATORS
    return segments[0] + "".join((rest if place else first) + segment for place, segment in enumerate(segments[1:]))


@cache
def covered(kind: type[Scope], pattern: str) -> frozenset[Value]:
    """Return the values that a pattern covers, found by a matcher that is not the product's."""
    segments = split(pattern, kind.SEPARATORS)
    return frozenset(value for value in VALUES if matches(segments, list(value)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_pattern_lies_inside_another_exactly_if_all_it_covers_does(kind: type[Scope]) -> None:
    """Sound and complete for every pair."""
    wrong = [
        (inner, outer)
        for inner, outer in product(patterns(kind), repeat=2)
        if (not outside(kind([inner]), kind([outer]))) != (covered(kind, inner) <= covered(kind, outer))
    ]
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_two_patterns_overlap_exactly_if_both_cover_some_value(kind: type[Scope]) -> None:
    """Sound and complete for every pair."""
    wrong = [
        (one, other)
        for one, other in product(patterns(kind), repeat=2)
        if overlap(kind([one]), kind([other])) != bool(covered(kind, one) & covered(kind, other))
    ]
    assert wrong == []


def scopes(kind: type[Scope]) -> st.SearchStrategy[Scope]:
    """Return scopes of a few patterns."""
    return st.lists(st.sampled_from(patterns(kind)), min_size=1, max_size=3).map(kind)


pairs = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(scopes(kind), scopes(kind)))


def all_covered(scope: Scope) -> frozenset[Value]:
    """Return the values that a scope covers."""
    return frozenset().union(*(covered(type(scope), pattern) for pattern in scope.patterns))


@laws
@given(pairs)
def test_what_is_inside_a_scope_covers_nothing_beyond_it(pair: tuple[Scope, Scope]) -> None:
    """However many patterns either has; what is outside is named, in the order it was given."""
    inner, outer = pair
    beyond = outside(inner, outer)
    within = [pattern for pattern in inner.patterns if pattern not in beyond]
    assert all(covered(type(inner), pattern) <= all_covered(outer) for pattern in within)
    assert beyond == tuple(pattern for pattern in inner.patterns if pattern in beyond)


@laws
@given(pairs)
def test_scopes_overlap_exactly_if_both_cover_some_value(pair: tuple[Scope, Scope]) -> None:
    """And the order of the two makes no difference."""
    one, other = pair
    common = bool(all_covered(one) & all_covered(other))
    assert (overlap(one, other), overlap(other, one)) == (common, common)


@laws
@given(
    st.lists(st.tuples(scopes(ActionScope), scopes(ResourceScope)), max_size=4),
    scopes(ActionScope),
    scopes(ResourceScope),
)
def test_the_policies_that_overlap_are_those_that_cover_some_request_in_the_scopes(
    matches: list[tuple[Scope, Scope]], actions: ActionScope, resources: ResourceScope
) -> None:
    """In the order of the set, which is that of their names."""
    policies = [
        Policy(f"p{number}", matched.patterns, matched_resources.patterns, limits=Limits(delegation_depth=1))
        for number, (matched, matched_resources) in enumerate(matches)
    ]
    expected = [
        policy
        for policy, (matched, matched_resources) in zip(policies, matches, strict=True)
        if all_covered(matched) & all_covered(actions) and all_covered(matched_resources) & all_covered(resources)
    ]
    assert PolicySet(policies).overlapping(actions, resources) == expected
