"""What can be asked of the records, and what is answered."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from pdp.core.model import Instant

HIGHEST = (1 << 63) - 1
"""What SQLite has room for."""


class RecordKind(StrEnum):
    """What sort of record it is."""

    DECISION = "decision"
    CHANGE = "change"
    ADMINISTRATION = "administration"
    LAPSE = "lapse"
    LIFECYCLE = "lifecycle"


class RecordOutcome(StrEnum):
    """How what is on record went."""

    ALLOW = "allow"
    DENY = "deny"
    PERMITTED = "permitted"
    NOT_PERMITTED = "not_permitted"
    REFUSED = "refused"


class Query(Struct, frozen=True, kw_only=True):
    """Records that meet all that is given."""

    identity: str = ""
    """Id of an identity, pattern of a family, or the subject of a decision."""
    owner: str = ""
    session: str = ""
    task: str = ""
    approval: str = ""
    ticket: str = ""
    code: str = ""
    """A reason code, not only the primary one; the rule of a refused call, what lapsed, or the name of an event."""
    outcome: RecordOutcome | None = None
    kind: RecordKind | None = None
    decision_id: str = ""
    since: Instant | None = None
    until: Instant | None = None
    """Before then."""
    oldest_first: bool = False


class Place(Struct, frozen=True):
    """Where the line of a record stands."""

    sequence: int
    offset: int
    """In its segment, uncompressed."""
    length: int
    """Without line feed."""


class FoundRecord(Struct, frozen=True):
    """A record as it stands in the journal."""

    sequence: int
    raw: bytes
    """Without line feed."""


class Page(Struct, frozen=True):
    """Some of the records that were asked for, in order."""

    records: tuple[FoundRecord, ...]
    next_token: str
    """Continues behind them; empty if there are no more."""
    sequence: int
    """The last record that was looked at; the answer is complete up to it."""


def token_of(sequence: int) -> str:
    """Return the token that continues behind a record."""
    return str(sequence)


def sequence_of(token: str) -> int | None:
    """Return the record that a token continues behind, None for the empty one; raise ValueError if it is none."""
    if not token:
        return None
    if token.isascii() and token.isdecimal() and len(token) < _DIGITS:
        return int(token)
    message = "not a page token"
    raise ValueError(message)


_DIGITS = len(str(HIGHEST))
