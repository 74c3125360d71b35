"""How patterns relate to each other, without naming a value: one inside another, or two with something in common.

Rule 1: sound: `inside` never holds for a pattern that covers a value its outer scope does not.
Rule 2: a pattern counts as inside a scope only if one of the scope's patterns alone holds all of it; two that hold it
together are not searched for.
"""

from __future__ import annotations

from itertools import product, zip_longest

from pdp.core.scope import Scope, is_pattern


def outside(inner: Scope, outer: Scope) -> tuple[str, ...]:
    """Return the patterns of `inner` that reach beyond `outer`; empty if it lies inside."""
    own = frozenset(outer.patterns)
    wild = [outer.segments(pattern) for pattern in outer.patterns if is_pattern(pattern)]
    return tuple(pattern for pattern in inner.patterns if pattern not in own and not _lies_in(pattern, outer, wild))


def overlap(one: Scope, other: Scope) -> bool:
    """Whether some value is covered by both."""
    pairs = product(map(one.segments, one.patterns), map(other.segments, other.patterns))
    return any(_meet(left, right) for left, right in pairs)


def _lies_in(pattern: str, outer: Scope, wild: list[list[str]]) -> bool:
    """Whether a pattern, which without a wildcard is a value, lies in a scope; `wild` are its patterns with one."""
    if not is_pattern(pattern):
        return bool(outer.covers(pattern))
    segments = outer.segments(pattern)
    return any(_holds(bound, segments) for bound in wild)


def _holds(outer: list[str], inner: list[str]) -> bool:
    for bound, segment in zip_longest(outer, inner):
        if bound == "**":
            return True
        if bound is None or segment is None or segment == "**":
            return False
        if bound not in ("*", segment):
            return False
    return True


def _meet(left: list[str], right: list[str]) -> bool:
    for one, other in zip_longest(left, right):
        if "**" in (one, other):
            return True
        if one is None or other is None:
            return False
        if "*" not in (one, other) and one != other:
            return False
    return True
