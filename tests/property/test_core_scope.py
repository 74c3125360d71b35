"""Scopes, their index and the choice of a family agree with plain matching, segment by segment."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pdp.core.permissions import overlap
from pdp.core.scope import (
    ActionScope,
    FamilyIndex,
    IdentityScope,
    PatternError,
    ResourceScope,
    Scope,
    ScopeIndex,
    check_pattern,
)
from tests.property.core_worlds import laws
from tests.property.reference_world import matches, specificity, split

_KINDS: Sequence[type[Scope]] = (ActionScope, ResourceScope, IdentityScope)
_LITERALS = ("a", "b", "", "ä", "a\u0308", "A", "a b", "\n", "a\n", "(", "[^/]+", "\\", "é" * 3, "a:b", ":", "a.b")
_TYPES = ("d", "e", "", "é", "d\n", "d.e")


def segments(kind: type[Scope]) -> st.SearchStrategy[str]:
    """Return what may stand between two separators of a kind."""
    return st.sampled_from([one for one in _LITERALS if kind.SEPARATORS[1] not in one])


def types(kind: type[Scope]) -> st.SearchStrategy[str]:
    """Return what may come first: a resource's type has neither colon nor slash."""
    return st.sampled_from(_TYPES) if kind is ResourceScope else segments(kind)


def joined(kind: type[Scope], parts: Sequence[str]) -> str:
    """Put a value or pattern together."""
    first, second = kind.SEPARATORS[0], kind.SEPARATORS[1]
    return parts[0] if len(parts) == 1 else parts[0] + first + second.join(parts[1:])


def values(kind: type[Scope]) -> st.SearchStrategy[str]:
    """Return values; a resource has a type and a path."""
    least = 1 if kind is ResourceScope else 0
    rest = st.lists(segments(kind), min_size=least, max_size=4)
    return st.builds(lambda first, others: joined(kind, [first, *others]), types(kind), rest)


def patterns(kind: type[Scope]) -> st.SearchStrategy[str]:
    """Return well-formed patterns."""
    star = st.just("*")
    least = 1 if kind is ResourceScope else 0
    lawful = segments(kind).filter(bool) if kind is ActionScope else segments(kind)
    first = types(kind).filter(bool) if kind is ActionScope else types(kind)
    inner = st.lists(lawful | star, min_size=least, max_size=3)
    longer = st.builds(
        lambda one, rest, tail: joined(kind, [one, *rest, *tail]),
        first | star,
        inner,
        st.sampled_from([[], ["**"]]),
    )
    short = st.builds(lambda one: joined(kind, [one, "**"]), first | star)
    return (longer | short | st.just("**")).filter(bool)


def naive(kind: type[Scope], pattern: str, value: str) -> bool:
    """Match as the reference does."""
    return matches(split(pattern, kind.SEPARATORS), split(value, kind.SEPARATORS))


@pytest.mark.parametrize("kind", _KINDS)
@laws
@given(st.data())
def test_a_scope_covers_what_any_of_its_patterns_matches(kind: type[Scope], data: st.DataObject) -> None:
    """Byte for byte, with empty segments, combining characters, newlines and colons in paths."""
    drawn = data.draw(st.lists(patterns(kind), max_size=4))
    value = data.draw(values(kind))
    assert bool(kind(drawn).covers(value)) == any(naive(kind, pattern, value) for pattern in drawn)


@pytest.mark.parametrize("kind", _KINDS)
@laws
@given(st.data())
def test_the_index_finds_every_scope_that_covers_a_value(kind: type[Scope], data: st.DataObject) -> None:
    """The bits of its mask are the numbers of the scopes that cover it."""
    scopes = data.draw(st.lists(st.lists(patterns(kind), max_size=3), max_size=4))
    value = data.draw(values(kind))
    covering = [any(naive(kind, pattern, value) for pattern in scope) for scope in scopes]
    assert ScopeIndex(kind, scopes).covering(value) == sum(1 << number for number, yes in enumerate(covering) if yes)


@pytest.mark.parametrize("kind", _KINDS)
@laws
@given(st.data())
def test_an_overlap_covers_what_both_patterns_cover(kind: type[Scope], data: st.DataObject) -> None:
    """No more, no less; and where there is none, no value lies in both."""
    left, right = data.draw(patterns(kind)), data.draw(patterns(kind))
    value = data.draw(values(kind))
    assume(value)  # no identifier is empty
    common = overlap(kind, left, right)
    if common is not None:
        check_pattern(kind, common)
    covered = common is not None and naive(kind, common, value)
    assert covered == (naive(kind, left, value) and naive(kind, right, value))


@laws
@given(st.lists(patterns(IdentityScope), max_size=5), st.data())
def test_families_come_most_specific_first(drawn: list[str], data: st.DataObject) -> None:
    """Literal before `*` before `**`, from the left; those removed again are not found."""
    families = FamilyIndex()
    for pattern in drawn:
        families.add(pattern)
    removed = data.draw(st.sets(st.sampled_from(drawn))) if drawn else set()
    for pattern in removed:
        families.remove(pattern)
    subject = data.draw(values(IdentityScope))
    covering = {one for one in drawn if one not in removed and naive(IdentityScope, one, subject)}
    assert families.covering(subject) == sorted(covering, key=specificity)
    assert families.patterns == set(drawn) - removed


@pytest.mark.parametrize(
    ("kind", "pattern", "message"),
    [
        (ActionScope, "", "a pattern must not be empty"),
        (ActionScope, "rows.re*", "pattern `rows.re*`: `*` must stand alone as a segment"),
        (ActionScope, "**.read", "pattern `**.read`: `**` must be the last segment"),
        (ResourceScope, "database", "resource pattern `database` must have the form `type:path`"),
        (ResourceScope, "a/b:c", "resource pattern `a/b:c` must have the form `type:path`"),
        (IdentityScope, "spiffe://x/***", "pattern `spiffe://x/***`: `*` must stand alone as a segment"),
    ],
)
def test_a_pattern_that_could_not_mean_what_it_says_is_refused(kind: type[Scope], pattern: str, message: str) -> None:
    """With the reason; it would silently match nothing."""
    with pytest.raises(PatternError) as caught:
        kind([pattern])
    assert str(caught.value) == message


def test_scopes_are_equal_when_kind_and_patterns_are() -> None:
    """An action scope is no resource scope, whatever its patterns."""
    assert ActionScope(["**"]) == ActionScope(["**"])
    assert hash(ActionScope(["**"])) == hash(ActionScope(["**"]))
    assert ActionScope(["**"]) != ResourceScope(["**"])
    assert repr(ActionScope(["rows.*"])) == "ActionScope(['rows.*'])"
