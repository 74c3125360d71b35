"""What is asked of a journal: for each condition, values that are drawn from its own records."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from benchmarks.outcome import WrongAnswerError
from benchmarks.world import HOUR
from pdp.core.model import Instant
from pdp.evidence.index.offline import JournalSearch
from pdp.evidence.index.query import Query, RecordKind, RecordOutcome, token_of
from pdp.evidence.index.topics import Line, decode_line
from pdp.evidence.instants import parse_instant

ONE = "decision id"
"""The condition that finds one record; the others find pages of them."""
LATER_PAGE = "identity, from a page token in the middle"
PAGE = 100


class Question(NamedTuple):
    """What is asked for, and behind which record."""

    query: Query
    token: str = ""


_Draw: TypeAlias = Callable[[Line, random.Random], Question]


def drawn(search: JournalSearch, last: int, count: int, chance: random.Random) -> dict[str, list[Question]]:
    """Return so many questions for each condition, about records drawn from all up to the last."""
    draws = _draws(_codes_of(search))
    lines = [line for line, _ in zip(_lines(search, last, chance), range(count), strict=False)]
    return {condition: [draw(line, chance) for line in lines] for condition, draw in draws.items()}


def _draws(codes: Sequence[str]) -> Mapping[str, _Draw]:
    return {
        ONE: lambda line, _: Question(Query(decision_id=line.decision_id)),
        "identity": lambda line, _: Question(Query(identity=line.identity_id)),
        "owner": lambda line, _: Question(Query(owner=line.owner)),
        "session": lambda line, _: Question(Query(session=line.session_id)),
        "task": lambda line, _: Question(Query(task=line.task_id)),
        "approval": lambda line, _: Question(Query(approval=line.approval_id)),
        "ticket": lambda line, _: Question(Query(ticket=line.ticket)),
        "code": lambda _, chance: Question(Query(code=chance.choice(codes))),
        "outcome": lambda _, chance: Question(Query(outcome=chance.choice(_OUTCOMES))),
        "kind": lambda _, chance: Question(Query(kind=chance.choice(_KINDS))),
        "time range, an hour": lambda line, _: Question(_around(line, HOUR)),
        "identity and time range, a day": lambda line, _: Question(_around(line, 24 * HOUR, line.identity_id)),
        LATER_PAGE: lambda line, _: Question(Query(identity=line.identity_id), token_of(line.seq)),
    }


_OUTCOMES = RecordOutcome.ALLOW, RecordOutcome.DENY
_KINDS = RecordKind.DECISION, RecordKind.CHANGE


def _around(line: Line, length_ns: int, identity: str = "") -> Query:
    at = parse_instant(line.time)
    return Query(identity=identity, since=Instant(at - length_ns // 2), until=Instant(at + length_ns // 2))


def _lines(search: JournalSearch, last: int, chance: random.Random) -> Iterator[Line]:
    """Yield lines of decisions that were traced to an approval, drawn from all."""
    while True:
        found = search.record(chance.randint(1, last))
        line = None if found is None else decode_line(found.raw)
        if line is not None and line.decision_id and line.ticket:
            yield line


def _codes_of(search: JournalSearch) -> Sequence[str]:
    """Return the primary codes that are on record: those of the latest denials, and that of allows."""
    latest = [search.page(Query(kind=RecordKind.DECISION, outcome=outcome), "", PAGE).records for outcome in _OUTCOMES]
    codes = sorted({decode_line(record.raw).codes[0] for records in latest for record in records})
    if len(codes) < 2:
        message = "the journal has decisions of one code only"
        raise WrongAnswerError(message)
    return codes
