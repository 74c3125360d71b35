"""Scenario files: from YAML to stories, with every problem at its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from pdp.core.lawful import faults_of
from pdp.core.model import AnyFact, Instant, Revocation
from pdp.core.policy.compile import WrittenObligation
from pdp.core.policy.model import Obligation
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope, PatternError
from pdp.scenarios.amending import BY_ID, BY_PERSON
from pdp.scenarios.commanding import CommandReading
from pdp.scenarios.decoding import Decoding
from pdp.scenarios.driver import CheckSpec, ObservedPermission, Outcome, PermissionsSpec, ServiceFault
from pdp.scenarios.story import (
    Action,
    Advance,
    Amend,
    Ask,
    AskWhat,
    AskWhy,
    Break,
    Expectation,
    ExpectedPermissions,
    ExpectedRows,
    Remove,
    RevisionAsked,
    Revoke,
    Scenario,
    SetClock,
    Step,
    SwapPolicies,
    Write,
)
from pdp.scenarios.written import (
    WrittenCheck,
    WrittenDeed,
    WrittenExpectation,
    WrittenPermissionList,
    WrittenRevocation,
    WrittenRows,
    WrittenScenario,
    WrittenStep,
)
from pdp.state.document import Document, DocumentError, Plain, Problem, parse_yaml
from pdp.state.document import Path as KeyPath
from pdp.state.facts_file import decode_facts, parse_facts
from pdp.state.policy_files import PolicyFile, compile_files, read

_GRANTS = frozenset({Code.GRANTED, Code.GRANTED_BREAK_GLASS})
_REVISION = re.compile(r"latest(?:\+(\d{1,9}))?")
_OF_A_COMMAND = frozenset({"by", "with", "reason"})
_BESIDE_A_VERB = frozenset({"name", "expect", "repeat"}) | _OF_A_COMMAND
_ASKING = frozenset({"check", "explain", "permissions"})


def read_scenario(path: Path) -> Scenario:
    """Read one scenario file and the policies and facts it names; raise DocumentError with all problems."""
    text = _content(path)
    return _Reading(parse_yaml(text, str(path)), text.decode(errors="replace"), path.parent).scenario()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "no such file").lower()
        raise DocumentError((Problem(str(path), 1, 1, "", f"cannot be read: {reason}"),)) from None


class _Reading(Decoding):
    """Reads one file; collects problems, its own and those of the files it names."""

    def __init__(self, document: Document, text: str, folder: Path) -> None:
        super().__init__(document, [])
        self._text = text
        self._folder = folder
        self._commands = CommandReading(document, self.problems)

    def scenario(self) -> Scenario:
        """Return the story; raise DocumentError."""
        written = self.decode((), WrittenScenario, self.document.data)
        if written is None:
            raise DocumentError(tuple(self.problems))
        policies = self._policies(("policies",), cast("Plain", written.policies))
        self._check_callers(written.callers)
        principals = self._commands.principals(("principals",), written.principals)
        facts = self._facts(("facts",), cast("Plain", written.facts))
        if not written.steps:
            self.refuse(("steps",), "must have at least one step")
        steps = [self._step(("steps", number), cast("Plain", data)) for number, data in enumerate(written.steps)]
        if self.problems:
            raise DocumentError(tuple(self.problems))
        return Scenario(
            name=written.scenario,
            description=written.description,
            source=self.document.source,
            policies=policies,
            callers=dict(written.callers),
            principals=principals,
            now=written.now,
            facts=facts,
            steps=tuple(step for step in steps if step is not None),
        )

    def _check_callers(self, callers: dict[str, tuple[str, ...]]) -> None:
        for caller, patterns in callers.items():
            try:
                IdentityScope(patterns)
            except PatternError as error:
                self.refuse(("callers", caller), str(error))

    def _policies(self, path: KeyPath, data: Plain) -> PolicySet:
        """Return the set that the file names or holds; by default all policies in its folder."""
        if data is None:
            return self._compiled([self._folder], ())
        if not isinstance(data, list):
            self.refuse(path, "must be a list of file names or policies")
            return PolicySet()
        paths: list[Path] = []
        inline: list[KeyPath] = []
        for number, item in enumerate(data):
            if isinstance(item, str):
                paths.append(self._folder / item)
            else:
                inline.append((*path, number))
        return self._compiled(paths, tuple(inline))

    def _compiled(self, paths: list[Path], inline: tuple[KeyPath, ...]) -> PolicySet:
        try:
            return compile_files([*read(paths), PolicyFile(self.document, self._text, inline)])
        except DocumentError as error:
            self.problems += error.problems
            return PolicySet()

    def _facts(self, path: KeyPath, data: Plain) -> tuple[AnyFact, ...]:
        """Return facts that the file names or holds, or a list of either."""
        if data is None:
            return ()
        if isinstance(data, list):
            return tuple(fact for number, item in enumerate(data) for fact in self._facts((*path, number), item))
        if isinstance(data, str):
            return self._facts_of_file(self._folder / data)
        facts, problems = decode_facts(self.document, path, data)
        self.problems += problems
        return tuple(facts)

    def _facts_of_file(self, path: Path) -> tuple[AnyFact, ...]:
        try:
            return tuple(parse_facts(_content(path), str(path)))
        except DocumentError as error:
            self.problems += error.problems
            return ()

    def _step(self, path: KeyPath, data: Plain) -> Step | None:
        written = self.decode(path, WrittenStep, data)
        if written is None or not isinstance(data, dict):
            return None
        verbs = [key for key in data if key not in _BESIDE_A_VERB]
        if len(verbs) != 1 or data[verbs[0]] is None:
            found = ", ".join(f"`{verb}`" for verb in verbs) or "none"
            self.refuse(path, f"a step must have exactly one verb, with its value; found {found}")
            return None
        verb = verbs[0]
        if not self._goes_together(path, verb, data):
            return None
        if written.repeat < 1:
            self.refuse((*path, "repeat"), "must be at least 1")
        action = self._action(path, verb, written, data)
        line, _ = self.document.position(path)
        named = written.name or (f"{written.by} commands {written.command}" if verb == "command" else "")
        return None if action is None else Step(line, named, action)

    def _goes_together(self, path: KeyPath, verb: str, data: dict[str, Plain]) -> bool:
        """Refuse what stands beside a verb that it has no meaning for; return whether the step can be read on."""
        if verb != "command" and (verb in _ASKING) is not ("expect" in data):
            self.refuse(path, f"`{verb}` needs `expect`" if verb in _ASKING else f"`{verb}` has nothing to expect")
            return False
        if verb != "check" and "repeat" in data:
            self.refuse((*path, "repeat"), f"`{verb}` cannot be repeated")
        for key in _OF_A_COMMAND & data.keys() if verb != "command" else ():
            self.refuse((*path, key), f"has no meaning for `{verb}`")
        return True

    def _action(self, path: KeyPath, verb: str, written: WrittenStep, data: dict[str, Plain]) -> Action | None:
        if verb in _ASKING:
            return self._question(path, verb, written, data.get("expect"))
        if verb == "command":
            return self._commands.command(path, written, data)
        return self._change(path, verb, written, data)

    def _change(self, path: KeyPath, verb: str, written: WrittenStep, data: dict[str, Plain]) -> Action | None:
        """Read a step that changes facts or what is around them."""
        value = getattr(written, verb)
        if verb in BY_ID:
            return Amend(verb, value)
        if verb in BY_PERSON:
            return self._deed((*path, verb), verb, value)
        match verb:
            case "advance":
                return Advance(value)
            case "at":
                return SetClock(value)
            case "apply":
                return Write(self._facts((*path, verb), data[verb]))
            case "remove":
                return Remove(value.kind, value.id)
            case "revoke":
                return self._revocation((*path, verb), value)
            case "policies":
                return SwapPolicies(self._policies((*path, verb), data[verb]))
            case _:
                return Break(cast("ServiceFault", value))

    def _question(self, path: KeyPath, verb: str, written: WrittenStep, expect: Plain) -> Action | None:
        here = (*path, "expect")
        if written.check is not None:
            answer = self._expectation(here, expect)
            asked = self._revision((*path, verb), written.check)
            spec = _spec(written.check)
            return None if answer is None else Ask(spec=spec, expect=answer, at_least=asked, repeat=written.repeat)
        if written.explain is not None:
            rows = self.decode(here, WrittenRows, expect)
            asked = self._revision((*path, verb), written.explain)
            if rows is None:
                return None
            expected = ExpectedRows(failed=rows.failed, not_reached=rows.not_reached)
            return AskWhy(spec=_spec(written.explain), expect=expected, at_least=asked)
        listed = self._expected_permissions(here, expect)
        if listed is None or written.permissions is None:
            return None
        asked_for = written.permissions
        spec_ = PermissionsSpec(**{name: getattr(asked_for, name) for name in asked_for.__struct_fields__})
        return AskWhat(spec=spec_, expect=listed)

    def _expectation(self, path: KeyPath, data: Plain) -> Expectation | None:
        """Read `allow`, `deny`, a reason code, or a mapping."""
        if isinstance(data, str):
            return self._short_expectation(path, data)
        written = self.decode(path, WrittenExpectation, data)
        if written is None:
            return None
        values = {name: getattr(written, name) for name in written.__struct_fields__ if name != "obligations"}
        obligations = None if written.obligations is None else tuple(map(_obligation, written.obligations))
        outcome = written.outcome or _outcome(written.code or (written.codes or (None,))[0])
        return Expectation(**{**values, "outcome": outcome, "obligations": obligations})

    def _short_expectation(self, path: KeyPath, text: str) -> Expectation | None:
        if text in tuple(Outcome):
            return Expectation(outcome=Outcome(text))
        if text in tuple(Code):
            return Expectation(code=Code(text), outcome=_outcome(Code(text)))
        self.refuse(path, f"`{text}` is neither `allow` nor `deny` nor a reason code")
        return None

    def _expected_permissions(self, path: KeyPath, data: Plain) -> ExpectedPermissions | None:
        """Read a list of pairs, a reason code, or a mapping with both."""
        if isinstance(data, list):
            data = {"permissions": data}
        elif isinstance(data, str):
            data = {"codes": [data]}
        written = self.decode(path, WrittenPermissionList, data)
        if written is None:
            return None
        pairs = tuple(ObservedPermission(item.action, item.resource, item.conditions) for item in written.permissions)
        return ExpectedPermissions(permissions=pairs, codes=written.codes)

    def _revision(self, path: KeyPath, check: WrittenCheck) -> RevisionAsked | None:
        if not check.at_least_revision:
            return None
        match = _REVISION.fullmatch(check.at_least_revision)
        if match is None:
            self.refuse((*path, "at_least_revision"), "must be `latest` or `latest+N`")
            return None
        return RevisionAsked(int(match[1] or 0))

    def _deed(self, path: KeyPath, verb: str, deed: WrittenDeed) -> Amend:
        if (verb == "certify") is not (deed.until is not None):
            wrong = "is required" if verb == "certify" else f"has no meaning for `{verb}`"
            self.refuse((*path, "until"), wrong)
        return Amend(verb, deed.id, deed.by, deed.until)

    def _revocation(self, path: KeyPath, written: WrittenRevocation) -> Revoke | None:
        revocation = Revocation(
            id=f"revocation-of-{written.target}-{written.id}",
            target=written.target,
            target_id=written.id,
            effective_at=written.effective_at or Instant(0),
            reason=written.reason,
            source=written.source,
            expires_at=written.expires_at,
        )
        for field, message in faults_of(revocation):
            self.refuse((*path, "id" if field == "target_id" else field), message)
        return Revoke(revocation, written.effective_at is None)


def _spec(written: WrittenCheck) -> CheckSpec:
    return CheckSpec(
        subject=written.subject,
        action=written.action,
        resource=written.resource,
        session=written.session,
        task=written.task,
        context=written.context,
        credential=written.credential,
        caller=written.caller,
        subject_type=written.subject_type,
        subject_properties=written.properties.subject,
        action_properties=written.properties.action,
        resource_properties=written.properties.resource,
        request_id=written.request_id,
    )


def _outcome(code: Code | None) -> Outcome | None:
    if code is None:
        return None
    return Outcome.ALLOW if code in _GRANTS else Outcome.DENY


def _obligation(written: str | WrittenObligation) -> Obligation:
    return Obligation(written) if isinstance(written, str) else Obligation(written.type, written.parameters)
