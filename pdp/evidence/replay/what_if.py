"""What recorded requests would be answered under other policies: the safe way to roll out a policy.

Rule 1: everything but the policies is as it was: facts, instants, and the uses that were counted then.
Rule 2: the journal and the change log are walked once, whatever the number of decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec import Struct

from pdp.core.decide import decide
from pdp.core.decision import Deny
from pdp.core.model import Instant
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.evidence.instants import instant_text
from pdp.evidence.journal.journal_reader import Entry, read
from pdp.evidence.journal.segments import first_sequence_of, open_segment, segments_of
from pdp.evidence.record import COUNTS_NO_USE
from pdp.evidence.replay.past import History, Past
from pdp.evidence.replay.recorded import RecordedDecision, decision_in, request_of
from pdp.evidence.replay.replaying import why_not_computed
from pdp.evidence.replay.unseen import unseen

MOST_EXAMPLES = 20
"""Changes that are told one by one; a few of each kind."""

_EXAMPLES_OF_A_KIND = 3
_NO_TIME = "~"
"""Sorts behind every time: a segment without a record is none to begin with."""


class _Time(Struct):
    time: str


_DECODE_TIME = msgspec.json.Decoder(_Time).decode


class Period(Struct, frozen=True):
    """The recorded decisions that are decided again: from `since` on, before `until`; None is no bound."""

    since: Instant | None = None
    until: Instant | None = None

    def covers(self, time: str) -> bool:
        """Whether a record of this time is among them; times of the journal sort as text."""
        if self.since is not None and time < instant_text(self.since):
            return False
        return self.until is None or time < instant_text(self.until)


class Changed(Struct, frozen=True):
    """One decision that would have been another."""

    recorded: RecordedDecision
    code: Code
    """What would have been the primary reason."""
    message: str
    """Of that reason; empty for an allow."""


@dataclass(slots=True)
class WhatIf:
    """What was found."""

    decided: int = 0
    """Decisions that were decided again."""
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many would have changed, by the primary code before and after."""
    examples: list[Changed] = field(default_factory=list)
    not_computed: Counter[str] = field(default_factory=Counter)
    """How many could not be decided again, by why."""


def what_if(directory: Path, history: History, candidate: PolicySet, period: Period) -> WhatIf:
    """Decide every recorded request of a period under a candidate policy set.

    Raises JournalDamagedError and msgspec.DecodeError where a line is no record, HistoryMissingError where the change
    log does not go on, and what `history` raises.
    """
    past = Past(history)
    past.snapshot.policies = candidate
    segment = _first_segment(directory, period.since)
    if segment is None:
        return WhatIf()
    past.begin(directory, segment)
    return _walk(read(directory, first_sequence_of(segment) - 1), past, period)


def _first_segment(directory: Path, since: Instant | None) -> Path | None:
    """Return the segment to begin with: one more than must be, for the wall clock may have been set back."""
    segments = segments_of(directory)
    if since is None or not segments:
        return next(iter(segments), None)
    before = [number for number, segment in enumerate(segments) if _time_of_first(segment) < instant_text(since)]
    return segments[max(0, max(before, default=0) - 1)]


def _time_of_first(segment: Path) -> str:
    with open_segment(segment) as file:
        line = file.readline()
    return _DECODE_TIME(line).time if line.endswith(b"\n") else _NO_TIME


def _walk(entries: Iterable[Entry], past: Past, period: Period) -> WhatIf:
    found = WhatIf()
    for entry in entries:
        recorded = decision_in(entry.raw)
        if recorded is not None and period.covers(recorded.time):
            _decide(recorded, past, found)
        past.count_line(entry.raw)
    return found


def _decide(recorded: RecordedDecision, past: Past, found: WhatIf) -> None:
    why = why_not_computed(recorded)
    if why:
        found.not_computed[why] += 1
        return
    snapshot, request, at = past.move_to(recorded.revision), request_of(recorded), recorded.at
    why = unseen(recorded, request, snapshot)
    if why:
        found.not_computed[why] += 1
        return
    found.decided += 1
    decision = decide(request, snapshot, at, used=recorded.method not in COUNTS_NO_USE)
    before, code = recorded.code, decision.code
    if code == before:
        return
    found.changes[before, code.value] += 1
    if found.changes[before, code.value] <= _EXAMPLES_OF_A_KIND and len(found.examples) < MOST_EXAMPLES:
        message = decision.reasons[0].message if isinstance(decision, Deny) else ""
        found.examples.append(Changed(recorded, code, message))
