"""Facts and changes as JSON bytes, the form they are kept and sent in.

Rule 1: what was encoded decodes to an equal value; what cannot be read raises CodecError, never a half-read fact.
Rule 2: equal scopes and repeated identifiers are one object in memory: a million sessions name few of them.
Rule 3: an unknown field is an error. A reader that skipped one might grant what the writer meant to forbid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import force_setattr

from pdp.core.model import (
    KIND_OF,
    TYPE_OF,
    AnyFact,
    Approval,
    Attribute,
    Change,
    Consent,
    Drop,
    Entitlement,
    FactKind,
    Identity,
    Put,
    Revocation,
    Session,
    Signal,
    Task,
)
from pdp.core.scope import Scope

SHARED_SCOPES = 1 << 15
SHARED_TEXTS = 1 << 17

_REPEATED: Mapping[type[AnyFact | Consent], tuple[str, ...]] = {
    Identity: ("owner",),
    Entitlement: ("certified_by", "granted_by"),
    Approval: ("identity", "requested_by", "approved_by", "reviewed_by"),
    Consent: ("by",),
    Task: ("owner", "parent"),
    Session: ("identity", "task", "entitlement", "approval", "parent", "opened_by", "reviewed_by"),
    Revocation: ("target_id", "reason", "source", "revoked_by"),
    Signal: ("about", "name", "source"),
}
"""The fields whose text other facts are likely to hold too."""


class CodecError(ValueError):
    """Bytes that are no fact or change of this version, or a value that cannot be written as JSON."""


class _PutRecord(Struct, frozen=True, tag_field="do", tag="put", forbid_unknown_fields=True):
    kind: FactKind
    fact: Raw


class _DropRecord(Struct, frozen=True, tag_field="do", tag="drop", forbid_unknown_fields=True):
    kind: FactKind
    id: str


_Record: TypeAlias = _PutRecord | _DropRecord


class Codec:
    """Encodes and decodes; remembers what it has seen, within bounds, to share it. For one thread at a time."""

    def __init__(self) -> None:
        """Start with nothing shared."""
        self._encoder = msgspec.json.Encoder(enc_hook=_patterns)
        self._scope = lru_cache(SHARED_SCOPES)(_scope)
        self._decoders = {
            kind: msgspec.json.Decoder(type_, dec_hook=self._from_patterns) for kind, type_ in TYPE_OF.items()
        }
        self._records = msgspec.json.Decoder(list[_Record])
        self._texts: dict[str, str] = {}
        self._no_constraints: dict[str, list[Attribute]] = {}

    def encode_fact(self, fact: AnyFact) -> bytes:
        """Return the fact as JSON; its kind is not part of it."""
        try:
            return self._encoder.encode(fact)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            message = f"{KIND_OF[type(fact)]} `{fact.id}` cannot be written as JSON"
            raise CodecError(message) from error

    def decode_fact(self, kind: FactKind, data: bytes | Raw) -> AnyFact:
        """Return the fact of that kind; raise CodecError if the bytes are none."""
        try:
            fact = self._decoders[kind].decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            message = f"not a {kind}: {error}"
            raise CodecError(message) from error
        self._share(fact)
        return fact

    def encode_changes(self, changes: Iterable[Change]) -> bytes:
        """Return the changes of one commit as a JSON list."""
        return self.join_changes(
            (change, b"" if isinstance(change, Drop) else self.encode_fact(change.fact)) for change in changes
        )

    def join_changes(self, changes: Iterable[tuple[Change, bytes]]) -> bytes:
        """Return the changes as a JSON list; each put comes with its fact encoded already."""
        return self._encoder.encode([_record(change, data) for change, data in changes])

    def decode_changes(self, data: bytes) -> tuple[Change, ...]:
        """Return the changes of one commit; raise CodecError if the bytes are none."""
        try:
            records = self._records.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            message = f"not a list of changes: {error}"
            raise CodecError(message) from error
        return tuple(self._change(record) for record in records)

    def _change(self, record: _Record) -> Change:
        if isinstance(record, _DropRecord):
            return Drop(record.kind, record.id)
        return Put(self.decode_fact(record.kind, record.fact))

    def _from_patterns(self, type_: type, patterns: object) -> Scope:
        if not isinstance(patterns, list):
            message = "expected a list of patterns"
            raise TypeError(message)
        return self._scope(type_, tuple(patterns))

    def _share(self, fact: AnyFact) -> None:
        """Let the fact hold the one object there is for each text and for no constraints."""
        texts = self._texts
        if len(texts) > SHARED_TEXTS:
            texts.clear()
        self._share_texts(fact)
        if isinstance(fact, Approval):
            for consent in fact.consents:
                self._share_texts(consent)
        if fact.traceparent:
            force_setattr(fact, "traceparent", texts.setdefault(fact.traceparent, fact.traceparent))
        if isinstance(fact, Session) and not fact.constraints:
            force_setattr(fact, "constraints", self._no_constraints)

    def _share_texts(self, value: AnyFact | Consent) -> None:
        texts = self._texts
        for name in _REPEATED[type(value)]:
            text = getattr(value, name)
            if text:
                # Nobody else has seen the value yet, so that it is frozen is not at stake.
                force_setattr(value, name, texts.setdefault(text, text))


def _record(change: Change, data: bytes) -> _Record:
    if isinstance(change, Drop):
        return _DropRecord(change.kind, change.id)
    return _PutRecord(KIND_OF[type(change.fact)], Raw(data))


def _patterns(value: object) -> Sequence[str]:
    if isinstance(value, Scope):
        return value.patterns
    message = f"a {type(value).__name__} has no JSON form"
    raise TypeError(message)


def _scope(type_: type[Scope], patterns: tuple[str, ...]) -> Scope:
    # Here and not in the hook: a scope that was seen before has been checked before.
    if not all(isinstance(pattern, str) for pattern in patterns):
        message = "expected a list of patterns"
        raise TypeError(message)
    return type_(patterns)
