"""Where, in a YAML file, a character of a scalar's value was written.

A value may be folded, indented, quoted or escaped in the file. The scalar is read again here, character by
character, and the result is held against the value that the YAML parser gave: if they differ, the place of the whole
scalar is the answer, never a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_PROPERTIES = re.compile(r"(?:[!&]\S*\s+)*")
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}


class _Written(NamedTuple):
    """A character of the value, and line and column (from 0) of what it was written as."""

    character: str
    line: int
    column: int


def place_inside(text: str, start: tuple[int, int], value: str, place: tuple[int, int]) -> tuple[int, int]:
    """Return line and column in the file of a place in the value; all count from 1.

    `start` is where the scalar begins. A place behind the value's end is that of its last character plus one.
    """
    lines = text.splitlines()
    offset = _offset(value, place)
    written: list[_Written] = []
    for character in _characters(lines, start[0] - 1, start[1] - 1):
        written.append(character)
        if len(written) > offset:
            break
    if not written or any(item.character != own for item, own in zip(written, value, strict=False)):
        return start
    if len(written) > offset:
        return written[offset].line + 1, written[offset].column + 1
    return written[-1].line + 1, written[-1].column + 2


def _offset(value: str, place: tuple[int, int]) -> int:
    """Return how many characters of the value stand before the place, at most all but its final line break."""
    before = value.splitlines(keepends=True)[: place[0] - 1]
    return min(sum(map(len, before)) + place[1] - 1, len(value.rstrip("\n")))


def _characters(lines: list[str], line: int, column: int) -> Iterator[_Written]:
    """Yield the characters of the scalar that begins at the place, perhaps more than it has."""
    if line >= len(lines):
        return
    properties = _PROPERTIES.match(lines[line], column)
    column = properties.end() if properties else column
    match lines[line][column : column + 1]:
        case "|":
            yield from _literal(lines, line, folded=False)
        case ">":
            yield from _literal(lines, line, folded=True)
        case "'":
            yield from _single_quoted(_flowing(lines, line, column + 1))
        case '"':
            yield from _double_quoted(_flowing(lines, line, column + 1))
        case _:
            yield from _flowing(lines, line, column)


def _literal(lines: list[str], header: int, *, folded: bool) -> Iterator[_Written]:
    """Yield a block scalar: lines without their indentation; folded ones are joined by a space."""
    indentation = next((_indentation(line) for line in lines[header + 1 :] if line.strip()), 0)
    breaks = 0
    previous = ""
    for number in range(header + 1, len(lines)):
        content = lines[number][indentation:] if lines[number].strip() else ""
        if content and previous:
            yield from _breaks(breaks, number, indentation, folds=folded and " " not in (content[0], previous[0]))
        elif content and breaks:
            yield from (_Written("\n", number, indentation) for _ in range(breaks))
        for position, character in enumerate(content):
            yield _Written(character, number, indentation + position)
        breaks = 1 if content else breaks + 1
        previous = content or previous


def _breaks(count: int, line: int, column: int, *, folds: bool) -> Iterator[_Written]:
    if folds and count == 1:
        yield _Written(" ", line, column)
        return
    for _ in range(count - 1 if folds else count):
        yield _Written("\n", line, column)


def _flowing(lines: list[str], line: int, column: int) -> Iterator[_Written]:
    """Yield the raw text of a plain or quoted scalar from the place on, its line breaks folded."""
    content = lines[line]
    end = len(content.rstrip()) if line + 1 < len(lines) else len(content)
    for position in range(column, end):
        yield _Written(content[position], line, position)
    empty = 0
    for number in range(line + 1, len(lines)):
        content = lines[number].strip()
        if not content:
            empty += 1
            continue
        indentation = _indentation(lines[number])
        yield from _breaks(empty + 1, number, indentation, folds=True)
        for position, character in enumerate(content):
            yield _Written(character, number, indentation + position)
        empty = 0


def _single_quoted(raw: Iterator[_Written]) -> Iterator[_Written]:
    for item in raw:
        if item.character == "'":
            after = next(raw, None)
            if after is None or after.character != "'":
                return
        yield item


def _double_quoted(raw: Iterator[_Written]) -> Iterator[_Written]:
    for item in raw:
        if item.character == '"':
            return
        yield item if item.character != "\\" else _escaped(item, raw)


def _escaped(item: _Written, raw: Iterator[_Written]) -> _Written:
    code = next(raw, item).character
    length = {"x": 2, "u": 4, "U": 8}.get(code, 0)
    digits = "".join(next(raw, item).character for _ in range(length))
    if length:
        return item._replace(character=_character(digits))
    return item._replace(character=_SIMPLE_ESCAPES.get(code, code))


def _character(digits: str) -> str:
    try:
        return chr(int(digits, 16))
    except (ValueError, OverflowError):
        return "\ufffd"


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
