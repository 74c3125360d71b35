"""What can go wrong with evidence, split by what the caller must do about it."""

from __future__ import annotations


class EvidenceError(Exception):
    """Any trouble with evidence."""


class EvidenceUnavailableError(EvidenceError):
    """The record is not on disk, so the answer that rests on it must not be given."""


class BufferFullError(EvidenceError):
    """No room for another record: wait for `room`, then deny."""


class UsageUnavailableError(EvidenceError):
    """What was used cannot be told just now."""


class IndexUnavailableError(EvidenceError):
    """Records cannot be found just now."""


class JournalLockedError(EvidenceError):
    """Another process writes to this journal."""


class JournalDamagedError(EvidenceError):
    """A line that should be a record is none; `pdp journal verify` names every such place."""


class MaskingKeyError(EvidenceError):
    """The journal's masking key cannot be used."""


class SigningKeyError(EvidenceError):
    """The key that signs the journal's seals cannot be used."""
