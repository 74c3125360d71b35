"""Masking: values that must not be in evidence are replaced by digests before anything is written.

Rule 1: it is done where a decision becomes the body of a line; what is masked reaches no disk.
Rule 2: in doubt a value is masked: a `when` that cannot be evaluated masks.
Rule 3: no other member of the line quotes what is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.model import Attributes
from pdp.core.policy.cel import VARIABLES, ExpressionError, Program, Variable, activate
from pdp.core.policy.compile import Complaint
from pdp.core.reasons import Code
from pdp.evidence.line.decision_json import ReasonJson, RequestJson
from pdp.evidence.line.masking_key import MaskingKey, load_key, make_key
from pdp.evidence.line.record_json import DecisionJson

ROOTS = ("context", "subject_properties", "action_properties", "resource_properties")
"""The members of a request that a rule may name attributes of."""

MASKING_KEY_MADE = "masking_key_made"
"""The event from which on digests can be compared with each other."""

_ANY = "*"
_STATIC = tuple(f"`{name}." for name in VARIABLES)
"""How the message of CONTEXT_MISSING begins if it names an attribute; else it quotes a value that was used as a key."""

_VARIABLES: Mapping[str, Callable[[RequestJson], Variable]] = {
    "context": lambda asked: asked.context,
    "subject": lambda asked: {
        "id": asked.subject,
        "type": asked.subject_type,
        "properties": dict(asked.subject_properties),
    },
    "action": lambda asked: {"name": asked.action, "properties": dict(asked.action_properties)},
    "resource": lambda asked: {
        "type": asked.resource.partition(":")[0],
        "id": asked.resource.partition(":")[2],
        "properties": dict(asked.resource_properties),
    },
}
"""What a `when` can read: all that the request itself says."""


class MaskRule(Struct, frozen=True, kw_only=True):
    """Attributes that are masked, always or under a condition."""

    attributes: list[str]
    """Dotted paths that begin with one of `ROOTS`; `*` stands for any one level, of a mapping or a list."""
    when: str | None = None
    """CEL over `context`, `subject`, `action` and `resource`; None: always."""


def complaints_about(rule: MaskRule) -> Iterator[Complaint]:
    """Yield what is wrong with a rule, by its place in it."""
    if not rule.attributes:
        yield Complaint(("attributes",), "must name an attribute")
    for number, attribute in enumerate(rule.attributes):
        if fault := _fault_of_path(attribute):
            yield Complaint(("attributes", number), fault)
    if rule.when is None:
        return
    try:
        unknown = sorted(Program(rule.when).roots - _VARIABLES.keys())
    except ExpressionError as error:
        yield Complaint(("when",), str(error), error.line, error.column)
    else:
        if unknown:
            known = ", ".join(f"`{name}`" for name in _VARIABLES)
            yield Complaint(("when",), f"cannot read `{unknown[0]}`, only what the request says: {known}")


def _fault_of_path(attribute: str) -> str:
    root, *steps = attribute.split(".")
    if root not in ROOTS:
        return f"`{attribute}` must begin with one of " + ", ".join(f"`{name}`" for name in ROOTS)
    if not all(steps):
        return f"`{attribute}` has a step without a name"
    if any(_ANY in step and step != _ANY for step in steps):
        return f"`{attribute}`: a `*` stands for a whole level"
    return ""


_Tree: TypeAlias = "dict[str, _Tree]"
"""What is named beneath a place, by its next step; an empty tree names the place itself."""


class _Rule(Struct, frozen=True):
    tree: _Tree
    when: Program | None

    def applies(self, asked: RequestJson) -> bool:
        if self.when is None:
            return True
        try:
            return self.when.holds(activate({name: _VARIABLES[name](asked) for name in self.when.roots}))
        except Exception:  # noqa: BLE001  # whatever is in doubt is masked
            return True


def _tree(rule: MaskRule) -> _Tree:
    tree: _Tree = {}
    # The shortest first: what is inside of what is named needs no naming.
    for steps in sorted((attribute.split(".") for attribute in rule.attributes), key=len):
        place = tree
        for step in steps[:-1]:
            if step in place and not place[step]:
                break
            place = place.setdefault(step, {})
        else:
            place.setdefault(steps[-1], {})
    return tree


def _beneath(trees: Sequence[_Tree], step: str) -> list[_Tree]:
    """Return what is named beneath a step; a place inside of one that is named is named as well."""
    found: list[_Tree] = []
    for tree in trees:
        if not tree:
            found.append(tree)
        if step in tree:
            found.append(tree[step])
        if _ANY in tree:
            found.append(tree[_ANY])
    return found


def _first_steps(rules: Iterable[_Rule], root: str) -> frozenset[str]:
    """Return the first steps that rules name beneath a root."""
    trees = [rule.tree[root] for rule in rules if root in rule.tree]
    return frozenset(step for tree in trees for step in tree or (_ANY,))


def _may_be_named(said: Attributes, names: frozenset[str]) -> bool:
    """Whether anything that was said can be named; on the path of each decision, most of which say nothing of it."""
    return _ANY in names or not names.isdisjoint(said) or "." in "".join(said)


class Masks(Struct, frozen=True):
    """What another process masks by."""

    rules: tuple[MaskRule, ...]
    secret: bytes
    """Of the journal's key."""


class Masking:
    """Masks the lines of one journal."""

    def __init__(self, rules: Sequence[MaskRule], key: MaskingKey | None = None) -> None:
        """Compile rules, about which there must be no complaints; without a key they wait for `start`."""
        self._said = tuple(rules)
        self._rules = tuple(_Rule(_tree(rule), None if rule.when is None else Program(rule.when)) for rule in rules)
        self._named = {root: names for root in ROOTS if (names := _first_steps(self._rules, root))}
        """By root, the first steps beneath it that a rule names; a root that no rule names is left out."""
        self._key = key

    def start(self, directory: Path) -> str:
        """Load the journal's key, or make it; return the fingerprint of a key that was made, else an empty text.

        Raises MaskingKeyError, or OSError if there is no place for it.
        """
        self._key = load_key(directory)
        if self._key is not None:
            return ""
        self._key = make_key(directory)
        return self._key.fingerprint

    @property
    def masks(self) -> Masks:
        """What another process needs to mask as this one does; ValueError if it has not been started."""
        if self._key is None:
            message = "masking has not been started"
            raise ValueError(message)
        return Masks(self._said, self._key.secret)

    def applied(self, line: DecisionJson) -> DecisionJson:
        """Return the line with what is to be masked masked; raise TypeError or ValueError if JSON cannot say it."""
        asked = line.request
        walk: _Walk | None = None
        for root, names in self._named.items():
            said: Attributes = getattr(asked, root)
            if said and _may_be_named(said, names):
                walk = walk or _Walk(self._key)
                trees = [rule.tree[root] for rule in self._rules if root in rule.tree and rule.applies(line.request)]
                masked = walk.masked(said, trees, root) if trees else said
                if masked is not said:
                    asked = replace(asked, **{root: masked})
        # What was left out, because JSON cannot say it, may be quoted as well.
        paths = () if walk is None else tuple(walk.paths)
        if not paths and not line.omitted:
            return line
        reasons = tuple(_unquoting(reason) for reason in line.reasons)
        return replace(line, request=asked, reasons=reasons, masked=paths)


def masking_of(masks: Masks) -> Masking:
    """Return what masks as that of another process does."""
    return Masking(masks.rules, MaskingKey(masks.secret))


class _Walk:
    """Goes through the attributes of one request, and notes which paths it masked."""

    def __init__(self, key: MaskingKey | None) -> None:
        self._key = key
        self.paths: list[str] = []

    def masked(self, value: object, trees: Sequence[_Tree], path: str) -> object:
        """Return the value with all that is named masked, or the very value if nothing is."""
        if not all(trees):
            self.paths.append(path)
            return {"masked": self._digest(value)}
        if isinstance(value, Mapping):
            changed = self._changed(value.items(), trees, path)
            return {**value, **changed} if changed else value
        if isinstance(value, list | tuple):
            changed = self._changed(((str(number), inner) for number, inner in enumerate(value)), trees, path)
            return [changed.get(str(number), inner) for number, inner in enumerate(value)] if changed else value
        return value

    def _changed(self, inside: Iterable[tuple[str, object]], trees: Sequence[_Tree], path: str) -> dict[str, object]:
        changed: dict[str, object] = {}
        for name, inner in inside:
            # A name with dots counts as several steps, so that `user.email` is found however it was sent.
            left = reduce(_beneath, name.split("."), trees) if "." in name else _beneath(trees, name)
            if left and (masked := self.masked(inner, left, f"{path}.{name}")) is not inner:
                changed[name] = masked
        return changed

    def _digest(self, value: object) -> str:
        if self._key is None:
            message = "masking has not been started"
            raise ValueError(message)
        return self._key.digest(value)


def _unquoting(reason: ReasonJson) -> ReasonJson:
    """Return the reason without words that may quote a value."""
    message = reason.message
    if reason.code == Code.POLICY_ERROR:
        message = message.partition(" cannot be evaluated: ")[0] + " cannot be evaluated"
    elif reason.code == Code.CONTEXT_MISSING and not message.startswith(_STATIC):
        message = "an attribute is missing, which " + message.rpartition("` is missing, which ")[2]
    return reason if message == reason.message else replace(reason, message=message)
