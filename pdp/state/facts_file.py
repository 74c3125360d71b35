"""Facts as a YAML file: written by people, kept in version control, applied by pipelines.

Rule 1: a file is read whole or not at all; every problem in it is said at once, with its place.
Rule 2: what is dumped reads back as the same facts, revision and trace aside: those are the store's to write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any, ClassVar, cast, get_args

import yaml
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo
from yaml.representer import BaseRepresenter

from pdp.core.model import KIND_OF, TYPE_OF, AnyFact, Duration, FactKind, Instant
from pdp.core.scope import Scope
from pdp.state.document import MAX_BYTES, Document, DocumentError, Path, Plain, Problem, parse_yaml, quote
from pdp.state.fields import decode, fields_of, render_duration, render_instant

SECTIONS: Mapping[str, FactKind] = {
    "identities": FactKind.IDENTITY,
    "entitlements": FactKind.ENTITLEMENT,
    "approvals": FactKind.APPROVAL,
    "tasks": FactKind.TASK,
    "sessions": FactKind.SESSION,
    "revocations": FactKind.REVOCATION,
    "signals": FactKind.SIGNAL,
}
"""The top-level keys of a facts file, in the order they are dumped."""


_TAG = "tag:yaml.org,2002:"


def parse_facts(text: str | bytes, source: str, *, max_bytes: int = MAX_BYTES) -> list[AnyFact]:
    """Return the facts of a file, in its order; raise DocumentError with every problem and nothing else."""
    document = parse_yaml(text, source, max_bytes=max_bytes)
    facts, problems = decode_facts(document, (), document.data)
    if problems:
        raise DocumentError(tuple(problems))
    return facts


def decode_facts(document: Document, path: Path, data: Plain) -> tuple[list[AnyFact], list[Problem]]:
    """Read the sections of facts in the mapping at the path, e.g. of a scenario; nothing there is no facts."""
    if data is None:
        return [], []
    if not isinstance(data, dict):
        return [], [document.problem(path, f"must be a mapping of {_known()}")]
    reading = _FactsReading(document)
    for key, items in data.items():
        reading.section((*path, key), key, items)
    return reading.facts, reading.problems


class _FactsReading:
    """Collects the facts and problems of one file."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._lines: dict[tuple[FactKind, str], int] = {}
        self.facts: list[AnyFact] = []
        self.problems: list[Problem] = []

    def section(self, path: Path, key: str, items: Plain) -> None:
        """Read all facts of one kind; a key with nothing behind it has none."""
        kind = SECTIONS.get(key)
        if kind is None:
            close = get_close_matches(key, SECTIONS, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known keys are {_known()}"
            self._refuse(path, f"unknown key: {hint}")
        elif items is not None and not isinstance(items, list):
            self._refuse(path, "must be a list")
        else:
            for number, item in enumerate(items or ()):
                self._fact((*path, number), kind, item)

    def _fact(self, path: Path, kind: FactKind, item: Plain) -> None:
        self._note_id(path, kind, item)
        fact, problems = decode(self._document, path, TYPE_OF[kind], item)
        self.problems += problems
        if fact is not None:
            self.facts.append(fact)

    def _note_id(self, path: Path, kind: FactKind, item: Plain) -> None:
        """Refuse a second fact of a kind and id, be either of them otherwise right or wrong."""
        id_ = item.get("id") if isinstance(item, dict) else None
        if not isinstance(id_, str):
            return
        place = (*path, "id")
        first = self._lines.get((kind, id_))
        if first is None:
            self._lines[kind, id_], _ = self._document.position(place)
        else:
            self._refuse(place, f"{kind} {quote(id_)} is given twice, first on line {first}")

    def _refuse(self, path: Path, message: str) -> None:
        self.problems.append(self._document.problem(path, message))


def dump_facts(facts: Iterable[AnyFact]) -> str:
    """Return lawful facts as a file that `parse_facts` reads, by kind and id, without what is default."""
    by_section: dict[FactKind, list[AnyFact]] = {}
    for fact in facts:
        by_section.setdefault(KIND_OF[type(fact)], []).append(fact)
    return "\n".join(
        _dump_section(section, sorted(by_section[kind], key=lambda fact: fact.id))
        for section, kind in SECTIONS.items()
        if kind in by_section
    )


class _Time(str):
    """Dumped without quotes."""

    __slots__ = ()


class _OneLineList(list[Plain]):
    """Dumped on one line."""


class _OneLineMapping(dict[str, Plain]):
    """Dumped on one line."""


class _Dumper(yaml.CSafeDumper):
    """Writes what `parse_facts` reads."""

    yaml_representers: ClassVar[dict[type[Any], Callable[[BaseRepresenter, Any], yaml.Node]]] = {
        **yaml.CSafeDumper.yaml_representers,
        _Time: lambda dumper, text: dumper.represent_scalar(_TAG + "timestamp", str(text)),
        _OneLineList: lambda dumper, items: dumper.represent_sequence(_TAG + "seq", items, flow_style=True),
        _OneLineMapping: lambda dumper, items: dumper.represent_mapping(_TAG + "map", items, flow_style=True),
    }

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the signature is PyYAML's
        """People read this: what two facts share is written out in both."""
        return True


def _dump_section(section: str, facts: Iterable[AnyFact]) -> str:
    text: str = yaml.dump(
        {section: [dict(_written_fields(fact)) for fact in facts]},
        Dumper=_Dumper,
        allow_unicode=True,
        sort_keys=False,
        width=1 << 30,
    )
    return text


def _written_fields(written: Struct) -> Iterator[tuple[str, Plain]]:
    for key, info in fields_of(type(written)).items():
        value = getattr(written, info.name)
        if info.required or value != _default(info):
            yield key, _plain(info, value)


def _default(info: FieldInfo) -> object:
    return info.default if info.default is not NODEFAULT else info.default_factory()


def _plain(info: FieldInfo, value: object) -> Plain:
    types = (info.type, *get_args(info.type))
    if isinstance(value, int) and Instant in types:
        return _Time(render_instant(Instant(value)))
    if isinstance(value, int) and Duration in types:
        return render_duration(Duration(value))
    if isinstance(value, Scope):
        return _OneLineList(value.patterns)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, dict):
        return _OneLineMapping(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Struct):
        return [dict(_written_fields(item)) for item in value]
    return _OneLineList(value) if isinstance(value, list | tuple) else cast("Plain", value)


def _known() -> str:
    return ", ".join(f"`{section}`" for section in SECTIONS)
