"""Scope patterns: what a session, approval, entitlement or policy covers.

Rule 1: an action is dot-separated (`rows.read`), a resource is `type:path` with `/`-separated segments
(`database:prod/users`), an identity is a URI or string with `/`-separated segments.
Rule 2: `*` matches one whole segment; a final `**` any number of segments, none included; nothing else is
special. A `*` inside a segment is refused, for it would silently match nothing.
Rule 3: matching is byte for byte.

A `Scope` is a set of patterns compiled once, each into the cheapest form that decides it: equality, a prefix,
or one regular expression whose `*` cannot cross a separator (so it cannot backtrack across segments).
A `ScopeIndex` finds which of many patterns cover a value; its cost depends on the value, not on their number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import ClassVar


class PatternError(ValueError):
    """A pattern that cannot mean what its author hoped; the message says why."""


def action_segments(text: str) -> list[str]:
    """Split `rows.read` into its segments."""
    return text.split(".")


def resource_segments(text: str) -> list[str]:
    """Split `type:path/of/segments` into the type and its path segments."""
    return text.replace(":", "/", 1).split("/")


def identity_segments(text: str) -> list[str]:
    """Split a URI or plain name at its slashes."""
    return text.split("/")


class Scope:
    """A set of patterns of one kind; equal when its patterns are."""

    __slots__ = ("covers", "patterns")

    SEPARATORS: ClassVar[str]
    """The separator behind the first segment, then the one behind each further segment."""

    segments: ClassVar[staticmethod[[str], list[str]]]
    """Splits a pattern or value of this kind into its segments."""

    patterns: tuple[str, ...]
    covers: Callable[[str], object]
    """Truthy when any of the patterns covers a value. The cheapest callable that decides it: for one exact pattern its
    own equality (35 ns), against 90 ns for a method that tries each form (`benchmarks/test_core.py`)."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile; raise PatternError if a pattern is empty or has a stray `*`."""
        self.patterns = tuple(patterns)
        matcher = _matcher(type(self), self.patterns)
        self.covers = _Remembering(matcher).__getitem__ if type(self) is ActionScope else matcher

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Scope) and other.patterns == self.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.patterns)!r})"


class ActionScope(Scope):
    """Patterns over actions."""

    __slots__ = ()
    SEPARATORS = ".."
    segments = staticmethod(action_segments)


class ResourceScope(Scope):
    """Patterns over resources."""

    __slots__ = ()
    SEPARATORS = ":/"
    segments = staticmethod(resource_segments)


class IdentityScope(Scope):
    """Patterns over identities."""

    __slots__ = ()
    SEPARATORS = "//"
    segments = staticmethod(identity_segments)


_NEVER_ASKED: Mapping[type[Scope], frozenset[str]] = {
    ActionScope: frozenset({""}),
    ResourceScope: frozenset({".", ".."}),
    IdentityScope: frozenset(),
}
"""Segments that `lawful_request` refuses in requests."""


def is_pattern(text: str) -> bool:
    """Whether the text has a wildcard."""
    return "*" in text


def check_pattern(kind: type[Scope], pattern: str) -> list[str]:
    """Return the pattern's segments; raise PatternError if it is malformed."""
    if not pattern:
        message = "a pattern must not be empty"
        raise PatternError(message)
    segments = kind.segments(pattern)
    if kind is ResourceScope and pattern != "**" and (":" not in pattern or "/" in pattern.partition(":")[0]):
        message = f"resource pattern `{pattern}` must have the form `type:path`"
        raise PatternError(message)
    for position, segment in enumerate(segments):
        if segment in _NEVER_ASKED[kind]:
            message = f"pattern `{pattern}`: no request has the segment `{segment}`, so it would match nothing"
            raise PatternError(message)
        if "*" not in segment or segment == "*":
            continue
        if segment != "**":
            message = f"pattern `{pattern}`: `*` must stand alone as a segment"
            raise PatternError(message)
        if position != len(segments) - 1:
            message = f"pattern `{pattern}`: `**` must be the last segment"
            raise PatternError(message)
    return segments


class _Remembering(dict[str, object]):
    """What a matcher said of a value: few actions are asked about, and a look-up is a third of a match.

    What a pattern matches never changes, so this remembers no decision.
    """

    __slots__ = ("_matcher",)

    def __init__(self, matcher: Callable[[str], object]) -> None:
        super().__init__()
        self._matcher = matcher

    def __missing__(self, value: str) -> object:
        covered = bool(self._matcher(value))
        if len(self) < _MOST_REMEMBERED:
            self[value] = covered
        return covered


_MOST_REMEMBERED = 64


def _matcher(kind: type[Scope], patterns: tuple[str, ...]) -> Callable[[str], object]:
    exact: list[str] = []
    prefixes: list[str] = []
    shapes: list[str] = []
    for pattern in patterns:
        segments = check_pattern(kind, pattern)
        if not is_pattern(pattern):
            exact.append(pattern)
        elif segments == ["**"]:
            prefixes.append("")
        elif "*" in segments:
            shapes.append(_shape(segments, kind.SEPARATORS))
        else:
            exact.append(pattern[:-3])
            prefixes.append(pattern[:-2])
    if not prefixes and not shapes:
        return exact[0].__eq__ if len(exact) == 1 else frozenset(exact).__contains__
    return _matcher_of_forms(tuple(exact), tuple(prefixes), shapes)


def _matcher_of_forms(exact: tuple[str, ...], prefixes: tuple[str, ...], shapes: list[str]) -> Callable[[str], object]:
    if not shapes:
        return lambda value: value.startswith(prefixes) or value in exact
    shape = re.compile("|".join(shapes), re.DOTALL).fullmatch
    if not exact and not prefixes:
        return shape
    return lambda value: value in exact or value.startswith(prefixes) or shape(value) is not None


def _shape(segments: list[str], separators: str) -> str:
    first, rest = re.escape(separators[0]), re.escape(separators[1])
    shape = ""
    for position, segment in enumerate(segments):
        separator = "" if position == 0 else first if position == 1 else rest
        if segment == "**":
            return f"{shape}(?:{separator}.*)?"
        # The first segment ends at its own separator, e.g. a resource type at `:`.
        stop = first if position == 0 else rest
        shape += separator + (f"[^{stop}]*" if segment == "*" else re.escape(segment))
    return shape


class _Node:
    """One segment deep in a trie of patterns; the masks say which patterns end here."""

    __slots__ = ("below", "children", "here", "star")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.star: _Node | None = None
        self.here = 0
        self.below = 0


def _node_of(root: _Node, segments: list[str]) -> _Node:
    """Return the node a pattern ends at, made on the way; a final `**` ends at the node before it."""
    node = root
    for segment in segments:
        if segment == "**":
            return node
        if segment == "*":
            node.star = node.star or _Node()
            node = node.star
        else:
            node = node.children.setdefault(segment, _Node())
    return node


class ScopeIndex:
    """Which of the numbered scopes cover a value, as a bit mask; walks the value's segments once."""

    __slots__ = ("_root", "_split", "covering")

    covering: Callable[[str], int]
    """Return the mask of the scopes that cover a value. The last few thousand values are kept: what a pattern
    matches never changes, so this remembers no decision."""

    def __init__(self, kind: type[Scope], scopes: Iterable[Iterable[str]]) -> None:
        """Index the patterns of scope number 0, 1, …; raise PatternError for a malformed one."""
        self._split = kind.segments
        self._root = _Node()
        for number, patterns in enumerate(scopes):
            for pattern in patterns:
                self._add(check_pattern(kind, pattern), 1 << number)
        self.covering = lru_cache(maxsize=8192)(self._walk)

    def _add(self, segments: list[str], bit: int) -> None:
        node = _node_of(self._root, segments)
        if segments[-1] == "**":
            node.below |= bit
        else:
            node.here |= bit

    def _walk(self, value: str) -> int:
        node, mask = self._root, self._root.below
        segments = self._split(value)
        for depth, segment in enumerate(segments):
            child, star = node.children.get(segment), node.star
            if child is not None and star is not None:
                return mask | _walk_both(child, star, segments, depth + 1)
            child = child or star
            if child is None:
                return mask
            node = child
            mask |= node.below
        return mask | node.here


def _walk_both(child: _Node, star: _Node, segments: list[str], depth: int) -> int:
    """Return the mask of all that is reached from either of two nodes; where patterns fork, which is rare."""
    reached, mask = [child, star], child.below | star.below
    for segment in segments[depth:]:
        deeper = [node.children[segment] for node in reached if segment in node.children]
        deeper += [node.star for node in reached if node.star is not None]
        for node in deeper:
            mask |= node.below
        reached = deeper
    for node in reached:
        mask |= node.here
    return mask


class FamilyIndex:
    """Records that stand for a family by pattern; finds the most specific one that covers a subject.

    More specific is, segment by segment from the left: the literal, then `*`, then `**`.
    """

    __slots__ = ("_root", "patterns")

    def __init__(self) -> None:
        """Start empty."""
        self._root = _Node()
        self.patterns: set[str] = set()

    def add(self, pattern: str) -> None:
        """Add a pattern; raise PatternError if it is malformed."""
        self._mark(check_pattern(IdentityScope, pattern), 1)
        self.patterns.add(pattern)

    def remove(self, pattern: str) -> None:
        """Forget a pattern; an unknown one is ignored."""
        if pattern in self.patterns:
            self.patterns.discard(pattern)
            self._mark(identity_segments(pattern), 0)

    def _mark(self, segments: list[str], mark: int) -> None:
        node = _node_of(self._root, segments)
        if segments[-1] == "**":
            node.below = mark
        else:
            node.here = mark

    def covering(self, subject: str) -> list[str]:
        """Return the patterns that cover the subject, most specific first."""
        return list(_walk(self._root, identity_segments(subject), 0, [])) if self.patterns else []


def _walk(node: _Node, segments: list[str], depth: int, path: list[str]) -> Iterable[str]:
    if depth == len(segments):
        if node.here:
            yield "/".join(path)
    else:
        child = node.children.get(segments[depth])
        if child is not None:
            yield from _walk(child, segments, depth + 1, [*path, segments[depth]])
        if node.star is not None:
            yield from _walk(node.star, segments, depth + 1, [*path, "*"])
    if node.below:
        yield "/".join([*path, "**"])
