"""From plain values to structs, with one problem for each bad field.

Rule 1: nothing is guessed: an unknown key, a wrong type or a time without a zone is a problem at its own place.
Rule 2: all fields are read before anything is said, so that an author can mend a file in one go.
Rule 3: times are exact to the nanosecond, and what is rendered here reads back as the same value.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from pdp.core.lawful import LAST_INSTANT, faults_of
from pdp.core.model import KIND_OF, AnyFact, Duration, Fact, Instant
from pdp.core.scope import PatternError, Scope, check_pattern
from pdp.core.wording import SECOND, duration_text, instant_text
from pdp.state.document import Document, Path, Plain, Problem, quote

_T = TypeVar("_T", bound=Struct)

_INSTANT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?"
    r"(?P<zone>[Zz]|[+-]\d\d:\d\d)?",
    re.ASCII,
)
_SIZES = {
    "d": 86_400 * SECOND,
    "h": 3_600 * SECOND,
    "m": 60 * SECOND,
    "s": SECOND,
    "ms": SECOND // 1_000,
    "us": SECOND // 1_000_000,
    "ns": 1,
}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>\d{{1,12}}){unit})?" for unit in _SIZES), re.ASCII)
_WRITTEN_BY_THE_STORE = ("revision", "traceparent")


def parse_instant(text: str) -> Instant:
    """Return the instant of an RFC 3339 text, exact to the nanosecond; raise ValueError for any other."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        message = f"{quote(text)} is not a time like `2026-03-01T09:00:00Z`"
        raise ValueError(message)
    if match["zone"] is None:
        message = f"{quote(text)} has no time zone: add `Z` or an offset like `+01:00`"
        raise ValueError(message)
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['time']}{match['zone'].upper()}")
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        message = f"{quote(text)} is not a time that exists"
        raise ValueError(message) from None
    nanos = (since.days * 86_400 + since.seconds) * SECOND + int((match["fraction"] or "0").ljust(9, "0"))
    if not 0 <= nanos <= LAST_INSTANT:
        message = f"{quote(text)} does not lie in the years 1970 to 9999"
        raise ValueError(message)
    return Instant(nanos)


def parse_duration(text: str) -> Duration:
    """Return the duration of a text like `1h30m` or `250ms`; raise ValueError for any other, and for none at all."""
    match = _DURATION.fullmatch(text)
    length = sum(int(count) * _SIZES[unit] for unit, count in match.groupdict(default="0").items()) if match else 0
    if match and text and not length:
        message = "must be longer than 0s"
        raise ValueError(message)
    if length <= 0 or length > LAST_INSTANT:
        message = f"{quote(text)} is not a duration like `1h30m`, `90s` or `250ms`"
        raise ValueError(message)
    return Duration(length)


def render_instant(instant: Instant) -> str:
    """Return an instant as `parse_instant` reads it back; a lawful one, that is from 1970 to 9999."""
    return instant_text(instant)


def render_duration(duration: Duration) -> str:
    """Return a positive duration as `parse_duration` reads it back; exact to the nanosecond."""
    fine = duration % _SIZES["ms"]
    text = duration_text(duration - fine) if duration > fine else ""
    for unit in ("us", "ns"):
        count, fine = divmod(fine, _SIZES[unit])
        text += f"{count}{unit}" if count else ""
    return text


def decode(document: Document, path: Path, type_: type[_T], data: Plain) -> tuple[_T | None, list[Problem]]:
    """Build a struct from the mapping at the path; None and one problem for each bad field if that fails.

    A fact is also checked for what `pdp.core.lawful` asks of it. The type's fields may be strings, numbers, enums,
    instants, durations, scopes, attributes, structs, and lists, tuples, sets and mappings of those, each or None.
    """
    reading = _Reading(document)
    built = reading.struct(path, type_, data)
    return built, reading.problems


class _Refused(Enum):
    """Stands for a value that a problem was noted about."""

    REFUSED = "refused"


_REFUSED = _Refused.REFUSED


class _Reading:
    """Collects the problems of one decode."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.problems: list[Problem] = []

    def refuse(self, path: Path, message: str) -> _Refused:
        """Note a problem."""
        self.problems.append(self._document.problem(path, message))
        return _REFUSED

    def struct(self, path: Path, type_: type[_T], data: Plain) -> _T | None:
        """Build a struct, or note why not."""
        if not isinstance(data, dict):
            self.refuse(path, f"must be a mapping, not {_sort_of(data)}")
            return None
        known = fields_of(type_)
        before = len(self.problems)
        for key in data:
            if key not in known:
                self.refuse((*path, key), f"unknown key{_suggestion(key, known)}")
        arguments = {}
        for key, info in known.items():
            if key in data:
                arguments[info.name] = self.value((*path, key), info.type, data[key])
            elif info.required:
                self.refuse((*path, key), "is required")
        if len(self.problems) > before:
            return None
        return self._lawful(path, type_(**arguments))

    def _lawful(self, path: Path, built: _T) -> _T | None:
        if type(built) not in KIND_OF:
            return built
        faults = faults_of(cast("AnyFact", built))
        for field, message in faults:
            self.refuse((*path, field), message)
        return None if faults else built

    def value(self, path: Path, type_: object, data: Plain) -> object:
        """Read a value of any type a field may have."""
        origin, arguments = get_origin(type_), get_args(type_)
        if origin is Union or origin is types.UnionType:
            return self._optional(path, arguments, data)
        if origin in (list, tuple, frozenset, set, Sequence):
            return self._several(path, origin, arguments, data)
        if origin in (dict, Mapping):
            return self._mapping(path, arguments[1], data)
        if origin is Literal:
            return data if data in arguments else self._not_among(path, list(map(str, arguments)), data)
        return self._single(path, type_, data)

    def _optional(self, path: Path, choices: tuple[object, ...], data: Plain) -> object:
        if data is None and type(None) in choices:
            return None
        others = [choice for choice in choices if choice is not type(None)]
        # `bool` is an `int` to Python; the value's own type comes first, and if none suits, the first explains itself.
        own: list[object] = [choice for choice in others if choice is type(data)]
        suitable = own or [choice for choice in others if _suits(choice, data)]
        return self.value(path, (suitable or others)[0], data)

    def _several(self, path: Path, origin: object, arguments: tuple[object, ...], data: Plain) -> object:
        if not isinstance(data, list):
            return self.refuse(path, f"must be a list, not {_sort_of(data)}")
        items = [self.value((*path, number), arguments[0], item) for number, item in enumerate(data)]
        if _REFUSED in items or origin in (list, Sequence):
            return items
        return cast("type[tuple[object, ...]]", origin)(items)

    def _mapping(self, path: Path, type_: object, data: Plain) -> object:
        if not isinstance(data, dict):
            return self.refuse(path, f"must be a mapping, not {_sort_of(data)}")
        return {key: self.value((*path, key), type_, value) for key, value in data.items()}

    def _single(self, path: Path, type_: object, data: Plain) -> object:
        if type_ is Any or type_ is object:
            return data
        if type_ is Instant or type_ is Duration:
            return self._time(path, type_ is Instant, data)
        if not isinstance(type_, type):
            message = f"no way to read {type_!r} from a file"
            raise TypeError(message)
        read = next((read for base, read in _READ_AS.items() if issubclass(type_, base)), _Reading._scalar)
        return read(self, path, type_, data)

    def _time(self, path: Path, is_instant: bool, data: Plain) -> object:  # private, named at the call
        if not isinstance(data, str):
            return self.refuse(path, f"must be {'a time' if is_instant else 'a duration'}, not {_sort_of(data)}")
        try:
            return parse_instant(data) if is_instant else parse_duration(data)
        except ValueError as error:
            return self.refuse(path, str(error))

    def _word(self, path: Path, type_: type[Enum], data: Plain) -> object:
        words = {member.value: member for member in type_}
        if isinstance(data, str) and data in words:
            return words[data]
        return self._not_among(path, list(words), data)

    def _not_among(self, path: Path, words: list[str], data: Plain) -> object:
        written = quote(data) if isinstance(data, str) else _sort_of(data)
        return self.refuse(path, f"must be one of {', '.join(f'`{word}`' for word in words)}, not {written}")

    def _scope(self, path: Path, type_: type[Scope], data: Plain) -> object:
        patterns = [data] if isinstance(data, str) else data
        if not isinstance(patterns, list):
            return self.refuse(path, f"must be a pattern or a list of patterns, not {_sort_of(data)}")
        for number, pattern in enumerate(patterns):
            place = (*path, number) if isinstance(data, list) else path
            if not isinstance(pattern, str):
                return self.refuse(place, f"must be a pattern, not {_sort_of(pattern)}")
            try:
                check_pattern(type_, pattern)
            except PatternError as error:
                return self.refuse(place, str(error))
        return type_(cast("list[str]", patterns))

    def _scalar(self, path: Path, type_: type, data: Plain) -> object:
        if type(data) is type_:
            return data
        if type_ is float and type(data) is int:
            return float(data)
        hint = ": put it in quotes" if type_ is str and not isinstance(data, list | dict | None) else ""
        return self.refuse(path, f"must be {_SORTS[type_]}, not {_sort_of(data)}{hint}")


_READ_AS: Mapping[type, Callable[[_Reading, Path, Any, Plain], object]] = {
    Struct: _Reading.struct,
    Enum: _Reading._word,  # noqa: SLF001  # a table of this module's own methods
    Scope: _Reading._scope,  # noqa: SLF001
}

_SORTS: Mapping[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    type(None): "nothing",
}


def _sort_of(data: Plain) -> str:
    return _SORTS[type(data)]


def _suits(choice: object, data: Plain) -> bool:
    """Whether a value of this shape may be meant as the choice."""
    form = get_origin(choice) or choice
    if form in (Instant, Duration):
        return isinstance(data, str)
    if not isinstance(form, type):
        return False
    for base, shapes in _SHAPES:
        if issubclass(form, base):
            return isinstance(data, shapes)
    return isinstance(data, form)


_SHAPES: Sequence[tuple[type | tuple[type, ...], type | tuple[type, ...]]] = (
    (Scope, (str, list)),
    (Enum, str),
    ((Struct, Mapping), dict),
    ((tuple, frozenset, set), list),
)


@lru_cache(maxsize=256)
def fields_of(type_: type[Struct]) -> Mapping[str, FieldInfo]:
    """Return the fields an author may give, by the key they are written with."""
    hidden = _WRITTEN_BY_THE_STORE if issubclass(type_, Fact) else ()
    return {info.encode_name: info for info in fields(type_) if info.name not in hidden}


def _suggestion(key: str, known: Mapping[str, FieldInfo]) -> str:
    close = get_close_matches(key, known, n=1)
    return f": did you mean `{close[0]}`?" if close else f": known keys are {', '.join(f'`{name}`' for name in known)}"
