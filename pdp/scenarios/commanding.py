"""Steps that command: who, what, why, and which rule should refuse it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from msgspec.structs import fields

from pdp.core.lawful import fault_of_text
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope, Scope
from pdp.governance.commands import Command
from pdp.governance.refusal import Rule
from pdp.governance.roles import Principal
from pdp.governance.table import ROWS, CommandRow
from pdp.scenarios.decoding import Decoding
from pdp.scenarios.driver import RefusalRule, RoleRule
from pdp.scenarios.story import CarryOut, ExpectedRefusal
from pdp.scenarios.written import WrittenPrincipal, WrittenRefusal, WrittenStep
from pdp.state.document import Document, Path, Plain, Problem

_LATER_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def name_of(command: type[Command]) -> str:
    """Return the name of a command in files and clients: `request_approval`."""
    return _LATER_WORD.sub("_", command.__name__).lower()


COMMANDS_BY_NAME: Mapping[str, CommandRow] = {name_of(row.command): row for row in ROWS}

RULES_BY_NAME: Mapping[str, RefusalRule] = {str(rule): rule for rules in (Rule, Code, RoleRule) for rule in rules}
"""What may stand against a command."""


class CommandReading(Decoding):
    """Reads the principals of a story, and then the steps that command."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        """As `Decoding`."""
        super().__init__(document, problems)
        self._known: dict[str, Principal] = {}

    def principals(self, path: Path, written: Mapping[str, WrittenPrincipal]) -> tuple[Principal, ...]:
        """Return those that a story has; only they may command in it."""
        self._known = {name: self._principal((*path, name), name, one) for name, one in written.items()}
        return tuple(self._known.values())

    def command(self, path: Path, written: WrittenStep, data: Mapping[str, Plain]) -> CarryOut | None:
        """Return what a step at the path asks for; `data` is the step as it stands there."""
        name = written.command or ""
        row = COMMANDS_BY_NAME.get(name)
        if row is None:
            self.refuse((*path, "command"), _no_such_word("command", name, COMMANDS_BY_NAME))
            return None
        if written.by not in self._known:
            self.refuse((*path, "by"), f"`{written.by}` is not among `principals`" if written.by else "is required")
        if row.needs_reason and not written.reason:
            self.refuse((*path, "reason"), f"is required by `{name}`")
        command: Command | None = self.decode((*path, "with"), row.command, data.get("with", {}))
        expect = self._refusal((*path, "expect"), data["expect"]) if "expect" in data else None
        if command is None:
            return None
        self._check_fields((*path, "with"), command, data.get("with"))
        for field, message in row.lacks(command):
            self.refuse((*path, "with", field), message)
        return CarryOut(command=command, principal=written.by, reason=written.reason, expect=expect)

    def _check_fields(self, path: Path, command: Command, given: Plain) -> None:
        """Refuse what the wire could not carry, or no door would take."""
        for info in fields(type(command)):
            value, place = getattr(command, info.name), (*path, info.name)
            if not isinstance(given, dict) or info.name not in given:
                continue
            if isinstance(value, Scope) and not value.patterns:
                self.refuse(place, "must name a pattern")
            elif isinstance(value, IdentityScope) and len(value.patterns) > 1:
                self.refuse(place, "must be a single pattern")
            elif info.required and isinstance(value, str) and (fault := fault_of_text(value, prose=True)):
                self.refuse(place, fault)

    def _principal(self, path: Path, name: str, written: WrittenPrincipal) -> Principal:
        for text in (name, *written.groups):
            if fault := fault_of_text(text):
                self.refuse(path, f"a name {fault}")
        return Principal(name=name, roles=written.roles, groups=written.groups, identities=written.identities)

    def _refusal(self, path: Path, data: Plain) -> ExpectedRefusal | None:
        """Read the first rule, or a list of all of them, and what else is worth comparing."""
        written = self.decode(path, WrittenRefusal, data)
        if written is None:
            return None
        place, complete = (*path, "refused"), not isinstance(written.refused, str)
        rules = self._rules(place, (written.refused,) if isinstance(written.refused, str) else written.refused)
        return ExpectedRefusal(
            rules=rules,
            complete=complete,
            message=written.message,
            remedy=written.remedy,
            about=written.about,
        )

    def _rules(self, path: Path, names: tuple[str, ...]) -> tuple[RefusalRule, ...]:
        if not names:
            self.refuse(path, "must name a rule; a command without `expect` must be carried out")
        for name in names:
            if name not in RULES_BY_NAME:
                self.refuse(path, _no_such_word("rule", name, RULES_BY_NAME))
        return tuple(RULES_BY_NAME[name] for name in names if name in RULES_BY_NAME)


def _no_such_word(noun: str, word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"`{word}` is no {noun}" + (f": did you mean `{close[0]}`?" if close else "")
