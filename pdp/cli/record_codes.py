"""Words that `--code` may be, so that one mistyped is not taken for one that has not occurred."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from sessionpdp.v1 import decision_pb2, evidence_pb2, governance_pb2

from pdp.core.reasons import Code
from pdp.evidence.record import Lapse
from pdp.governance.refusal import Rule

_FILES = (decision_pb2, evidence_pb2, governance_pb2)


def hint_for(code: str) -> str:
    """Return what to say of a code under which nothing is found; empty if there is such a code, or may be.

    The names of events are not a closed set: what looks like one, and like no other code, may be one.
    """
    known = {name.casefold(): name for name in _names()}
    if code in known.values():
        return ""
    near = get_close_matches(code.casefold(), known, n=1)
    if near:
        return f"there is no code `{code}`; `{known[near[0]]}` is one"
    return "" if code.islower() else f"there is no code `{code}`"


def _names() -> Iterator[str]:
    yield from (*Code, *Rule, *Lapse)
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from service.methods_by_name
