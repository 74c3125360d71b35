"""One scenario for all engines.

A hundred jobs in twenty roles. Each role has one rule: it may read rows of its own database. A job acts under a
session of its own, inside the session's window, while the session and its task are open. What is asked: the job, the
action, the table, the session, the task, now. Who may do what is the same for all engines; that they also say why,
and until when, is not asked of them.
"""

from __future__ import annotations

import random

from msgspec import Struct

ROLES = 20
JOBS = 100
TABLES = 5
NOW = 1_800_000_000


class Job(Struct, frozen=True):
    """A job with its session."""

    id: str
    role: str
    database: str
    session: str
    task: str
    session_open: bool
    task_open: bool
    not_before: int
    expires_at: int


class Ask(Struct, frozen=True):
    """One question."""

    job: str
    action: str
    database: str
    table: str
    session: str
    task: str


class Scenario(Struct, frozen=True):
    """Jobs, and questions of which the answer is known."""

    jobs: tuple[Job, ...]
    allowed: tuple[Ask, ...]
    denied: tuple[Ask, ...]


def scenario() -> Scenario:
    """Return the scenario; of every role one job has a closed session, one an ended task, one is too late."""
    jobs = tuple(_job(number) for number in range(JOBS))
    live = [job for job in jobs if job.session_open and job.task_open and job.expires_at > NOW]
    dead = [job for job in jobs if job not in live]
    chance = random.Random(7)
    allowed = [_ask(chance.choice(live), chance) for _ in range(1000)]
    denied = [_ask(chance.choice(dead), chance) for _ in range(400)]
    denied += [_astray(chance.choice(live), chance, live) for _ in range(600)]
    chance.shuffle(denied)
    return Scenario(jobs, tuple(allowed), tuple(denied))


def _job(number: int) -> Job:
    role, nature = number % ROLES, number // ROLES
    return Job(
        id=f"job-{number}",
        role=f"role-{role}",
        database=f"prod-{role}",
        session=f"s-{number}",
        task=f"t-{number}",
        session_open=nature != 1,
        task_open=nature != 2,
        not_before=NOW - 3600,
        expires_at=NOW if nature == 3 else NOW + 3600,
    )


def _ask(job: Job, chance: random.Random) -> Ask:
    return Ask(job.id, "rows.read", job.database, f"table-{chance.randrange(TABLES)}", job.session, job.task)


def _astray(job: Job, chance: random.Random, live: list[Job]) -> Ask:
    """Return a question that goes beyond the rule in one respect."""
    ask = _ask(job, chance)
    other = chance.choice([one for one in live if one.role != job.role])
    match chance.randrange(4):
        case 0:
            return Ask(ask.job, "rows.write", ask.database, ask.table, ask.session, ask.task)
        case 1:
            return Ask(ask.job, ask.action, other.database, ask.table, ask.session, ask.task)
        case 2:
            return Ask(ask.job, ask.action, ask.database, ask.table, other.session, ask.task)
        case _:
            return Ask(ask.job, ask.action, ask.database, ask.table, ask.session, other.task)
