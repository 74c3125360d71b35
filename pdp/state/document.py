"""A YAML file as plain values, with the place each of them was written at.

Rule 1: reading a file never raises anything but DocumentError, and each problem in it says file, line and column.
Rule 2: what YAML 1.1 reads as a surprise is refused, not guessed: duplicate keys, keys that are no strings, unknown
tags, merge keys, octal and base-60 numbers.
Rule 3: time and memory are bounded by the size of the text: aliases share what they name, and the nodes they stand
for are counted before anybody walks them.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

import yaml
from msgspec import Struct

Path: TypeAlias = "tuple[str | int, ...]"
"""Keys and list positions from the root of a document."""

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""A JSON-like value. A YAML timestamp stays the string it was written as, so no digit of it is lost."""

MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_BYTES = 64 * 1024 * 1024
MAX_PROBLEMS = 100
"""Further problems of one file are not looked for: the author has enough to do."""

_INTEGER_BITS = 64
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]*[0-9a-fA-F]|0b[01_]*[01])")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9]+)([eE][-+]?[0-9]+)?")
_TRUTH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_NULLS = ("", "~", "null", "Null", "NULL")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGEST_QUOTE = 120
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Problem(Struct, frozen=True):
    """One thing wrong in a file; line and column count from 1."""

    source: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        """Return `file:line:column: path: message`, on one line."""
        place = f"{self.source}:{self.line}:{self.column}: "
        return place + _printable(f"{self.path}: {self.message}" if self.path else self.message)


class DocumentError(ValueError):
    """A file that cannot be used, with every problem found in it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Keep the problems; the text has one line for each."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class _Place(Struct, frozen=True, gc=False):
    """Where a value begins, and where the values inside it do; counts what an alias to it stands for."""

    line: int
    column: int
    inside: dict[str, _Place] | list[_Place] | None = None
    nodes: int = 1
    height: int = 0


class Document:
    """The value of a file, and where each part of it was written."""

    __slots__ = ("_root", "data", "source")

    def __init__(self, source: str, data: Plain, root: _Place) -> None:
        """Made by `parse_yaml`; `data` is to be read only, for aliases share parts of it."""
        self.source = source
        self.data = data
        self._root = root

    def position(self, path: Path) -> tuple[int, int]:
        """Return line and column (from 1) of the value at the path, or of its nearest existing ancestor."""
        place = self._root
        for step in path:
            deeper = _step(place, step)
            if deeper is None:
                break
            place = deeper
        return place.line, place.column

    def problem(self, path: Path, message: str) -> Problem:
        """Return a problem with the value at the path."""
        line, column = self.position(path)
        return Problem(self.source, line, column, path_text(path), message)


def _step(place: _Place, step: str | int) -> _Place | None:
    inside = place.inside
    if isinstance(inside, dict):
        return inside.get(step) if isinstance(step, str) else None
    if isinstance(inside, list) and isinstance(step, int) and 0 <= step < len(inside):
        return inside[step]
    return None


def quote(text: str) -> str:
    """Return input in backticks, fit for a message: short, and without control characters."""
    short = text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…"
    return f"`{_printable(short)}`"


def _printable(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def path_text(path: Path) -> str:
    """Return a path as `sessions[2].labels["a.b"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f'["{quote(step)[1:-1]}"]'
    return text


def parse_yaml(text: str | bytes, source: str, *, max_bytes: int = MAX_BYTES) -> Document:
    """Read one YAML document; `source` names the file in problems. Raises DocumentError and nothing else."""
    encoded = _utf8(text, source, max_bytes)
    loader = None
    try:
        loader = yaml.CSafeLoader(encoded)
        return _Parsing(loader, source).document()
    except yaml.YAMLError as error:
        raise DocumentError((_syntax_problem(error, encoded, source),)) from None
    finally:
        if loader is not None:
            loader.dispose()


def _utf8(text: str | bytes, source: str, max_bytes: int) -> bytes:
    """Return the text as UTF-8 without a byte order mark; refuse what is none, or too long."""
    try:
        encoded = text if isinstance(text, bytes) else text.encode()
        if len(encoded) > max_bytes:
            raise _refusal(source, 1, 1, f"the file has {len(encoded)} bytes, more than {max_bytes}")
        encoded.decode()
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError | UnicodeEncodeError) else 0
        before = text[:start] if isinstance(text, str) else text[:start].decode()
        raise _refusal(source, *_line_and_column(before), "the file is not valid UTF-8") from None
    return encoded.removeprefix(b"\xef\xbb\xbf")


def _refusal(source: str, line: int, column: int, message: str) -> DocumentError:
    return DocumentError((Problem(source, line, column, "", message),))


def _line_and_column(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _syntax_problem(error: yaml.YAMLError, encoded: bytes, source: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(source, line, column, "", f"not valid YAML: {words}")
    offset = getattr(error, "position", 0)
    line, column = _line_and_column(encoded[:offset].decode(errors="replace"))
    return Problem(source, line, column, "", "the file has a character that YAML does not allow")


def _place_of(event: yaml.Event) -> _Place:
    mark = event.start_mark
    return _Place(mark.line + 1, mark.column + 1) if mark is not None else _Place(1, 1)


class _Parsing:
    """One run over the events of a loader. Not over its composed nodes: composing deep nesting crashes libyaml."""

    def __init__(self, loader: yaml.CSafeLoader, source: str) -> None:
        self._loader = loader
        self._source = source
        self._problems: list[Problem] = []
        self._anchors: dict[str, tuple[Plain, _Place]] = {}
        self._nodes = 0

    def document(self) -> Document:
        """Return the only document of the stream; an empty stream is null."""
        data, root = None, _Place(1, 1)
        self._next()
        if not self._loader.check_event(yaml.StreamEndEvent):
            self._next()
            data, root = self._node(self._next(), (), 0)
            self._next()
            if not self._loader.check_event(yaml.StreamEndEvent):
                self._refuse(_place_of(self._next()), (), "a file must hold one document only")
        if self._problems:
            raise DocumentError(tuple(self._problems))
        return Document(self._source, data, root)

    def _next(self) -> yaml.Event:
        event = self._loader.get_event()
        assert event is not None  # noqa: S101  # None only behind the end of the stream, where nobody reads
        return event

    def _refuse(self, place: _Place, path: Path, message: str) -> None:
        self._problems.append(Problem(self._source, place.line, place.column, path_text(path), message))
        if len(self._problems) >= MAX_PROBLEMS:
            raise DocumentError(tuple(self._problems))

    def _stop(self, place: _Place, path: Path, message: str) -> DocumentError:
        """Refuse what must not be read any further."""
        problem = Problem(self._source, place.line, place.column, path_text(path), message)
        return DocumentError((*self._problems, problem))

    def _node(self, event: yaml.Event, path: Path, depth: int) -> tuple[Plain, _Place]:
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101  # the parser gives no other between these
        place = _place_of(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "", place, path, depth)
        self._count(1, place, path)
        if depth > MAX_DEPTH:
            raise self._stop(place, path, f"nested deeper than {MAX_DEPTH} levels")
        data: Plain
        if isinstance(event, yaml.MappingStartEvent):
            data, place = self._mapping(event, place, path, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            data, place = self._sequence(event, place, path, depth)
        else:
            assert isinstance(event, yaml.ScalarEvent)  # noqa: S101  # the only kind of node left
            data = self._scalar(event, place, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (data, place)
        return data, place

    def _count(self, nodes: int, place: _Place, path: Path) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._stop(place, path, f"more than {MAX_NODES} values, aliases expanded")

    def _alias(self, anchor: str, place: _Place, path: Path, depth: int) -> tuple[Plain, _Place]:
        if anchor not in self._anchors:
            # Also an alias inside of what it names: an anchor is known once its value is complete.
            raise self._stop(place, path, f"alias {quote(anchor)} names nothing that was written before it")
        data, target = self._anchors[anchor]
        self._count(target.nodes, place, path)
        if depth + target.height > MAX_DEPTH:
            raise self._stop(place, path, f"nested deeper than {MAX_DEPTH} levels")
        return data, _Place(place.line, place.column, target.inside, target.nodes, target.height)

    def _mapping(
        self, event: yaml.MappingStartEvent, place: _Place, path: Path, depth: int
    ) -> tuple[dict[str, Plain], _Place]:
        self._check_tag(event.tag, "map", place, path)
        data: dict[str, Plain] = {}
        inside: dict[str, _Place] = {}
        while not isinstance(event_of_key := self._next(), yaml.MappingEndEvent):
            key, key_place = self._key(event_of_key, path, depth)
            value, value_place = self._node(self._next(), (*path, key), depth + 1)
            if key in data:
                self._refuse(key_place, (*path, key), f"key {quote(key)} is given twice")
            data[key], inside[key] = value, value_place
        return data, self._around(place, inside)

    def _key(self, event: yaml.Event, path: Path, depth: int) -> tuple[str, _Place]:
        data, place = self._node(event, path, depth + 1)
        if isinstance(event, yaml.ScalarEvent) and self._tag_of(event) == "merge":
            self._refuse(place, path, "merge keys (`<<`) are not supported")
        elif not isinstance(data, str):
            written = quote(event.value) if isinstance(event, yaml.ScalarEvent) else "of a mapping"
            self._refuse(place, path, f"key {written} is not a string: put it in quotes")
        return data if isinstance(data, str) else "?", place

    def _sequence(
        self, event: yaml.SequenceStartEvent, place: _Place, path: Path, depth: int
    ) -> tuple[list[Plain], _Place]:
        self._check_tag(event.tag, "seq", place, path)
        data: list[Plain] = []
        inside: list[_Place] = []
        while not isinstance(item := self._next(), yaml.SequenceEndEvent):
            value, value_place = self._node(item, (*path, len(data)), depth + 1)
            data.append(value)
            inside.append(value_place)
        return data, self._around(place, inside)

    def _around(self, place: _Place, inside: dict[str, _Place] | list[_Place]) -> _Place:
        places = inside.values() if isinstance(inside, dict) else inside
        keys = len(inside) if isinstance(inside, dict) else 0
        nodes = 1 + keys + sum(item.nodes for item in places)
        return _Place(place.line, place.column, inside, nodes, 1 + max((item.height for item in places), default=0))

    def _check_tag(self, tag: str | None, expected: str, place: _Place, path: Path) -> None:
        if tag is not None and tag not in ("!", _TAG + expected):
            self._refuse(place, path, f"tag {quote(tag)} is not supported")

    def _tag_of(self, event: yaml.ScalarEvent) -> str:
        """Return the short name of the scalar's tag, or a whole tag that is unknown."""
        tag = event.tag
        if tag in (None, "!"):
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        return str(tag).removeprefix(_TAG)

    def _scalar(self, event: yaml.ScalarEvent, place: _Place, path: Path) -> Plain:
        tag, text = self._tag_of(event), event.value
        # `timestamp` stays text (see Plain); `value` is a lone `=`; `merge` is refused where it is a key.
        if tag in ("str", "timestamp", "value", "merge"):
            return str(text)
        if tag == "null" and text in _NULLS:
            return None
        if tag == "bool" and text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        number = _number(tag, text)
        if number is None:
            self._refuse(place, path, _not_read(tag, text))
        return number


def _number(tag: str, text: str) -> int | float | None:
    """Return an integer of 64 bits or a finite float; None for anything else."""
    digits = text.replace("_", "")
    if tag == "int" and _INTEGER.fullmatch(text) and len(digits) <= _INTEGER_BITS + len("-0b"):
        number = int(digits, 0)
        return number if -(1 << (_INTEGER_BITS - 1)) <= number < 1 << _INTEGER_BITS else None
    if tag == "float" and _FLOAT.fullmatch(text) and math.isfinite(float(digits)):
        return float(digits)
    return None


def _not_read(tag: str, text: str) -> str:
    if tag == "int":
        return f"{quote(text)} is not a plain integer of 64 bits: put it in quotes if it is text"
    if tag == "float":
        return f"{quote(text)} is not a plain, finite number: put it in quotes if it is text"
    if tag in ("null", "bool"):
        return f"{quote(text)} is not a value of tag `!!{tag}`"
    return f"tag {quote(tag)} is not supported"
