"""The chain of lines: one line of JSON a record, schema version 1, each bound to the one before.

Rule 1: `hash` is the last member; it is the SHA-256 of the line's bytes without that member (and without the line
feed). `prev` is the hash of the line before and is inside what is hashed: that is the chain.
Rule 2: what a record says is its body, whose bytes do not depend on where it comes to stand; `v`, `seq` and `prev`
stand before it and `hash` behind. So a body is encoded once, wherever that costs least.
"""

from __future__ import annotations

import hashlib

from pdp.evidence.trouble import JournalDamagedError

SCHEMA_VERSION = 1
GENESIS = "0" * 64
"""What the first record of a journal has as `prev`."""

_HASH_MEMBER = b',"hash":"'
_HASH_TAIL = len(_HASH_MEMBER) + 64 + len(b'"}')


def line_of(body: bytes, sequence: int, previous: str) -> tuple[bytes, str]:
    """Return the line of a body at its place in the chain, line feed included, and its hash."""
    said = b'{"v":%d,"seq":%d,"prev":"%b",%b' % (SCHEMA_VERSION, sequence, previous.encode(), body[1:])
    hash_ = hashlib.sha256(said).hexdigest()
    return b'%b,"hash":"%b"}\n' % (said[:-1], hash_.encode()), hash_


def hash_of(line: bytes) -> tuple[str, str]:
    """Return the hash that a line (without line feed) claims and the one it has; raise ValueError if it claims none."""
    member = line[-_HASH_TAIL:]
    if not member.startswith(_HASH_MEMBER) or not member.endswith(b'"}'):
        message = "the line does not end with a hash"
        raise ValueError(message)
    claimed = member[len(_HASH_MEMBER) : -2].decode("ascii", "replace")
    return claimed, hashlib.sha256(line[:-_HASH_TAIL] + b"}").hexdigest()


def refuse_altered(line: bytes, sequence: int, segment: str) -> None:
    """Raise JournalDamagedError for a line (without line feed) that has not its hash: none must be told as evidence."""
    try:
        claimed, actual = hash_of(line)
    except ValueError as error:
        message = f"record {sequence} in segment `{segment}` is not a record: {error}"
        raise JournalDamagedError(message) from None
    if claimed != actual:
        message = f"record {sequence} in segment `{segment}` was altered: its hash is another"
        raise JournalDamagedError(message)
