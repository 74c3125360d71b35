"""The scenario for pycasbin: one policy line per role, roles as groupings, the session as an attribute."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeAlias

import casbin

from benchmarks.rivals.scenario import NOW, ROLES, Ask, Job, Scenario

_MODEL = """
[request_definition]
r = sub, act, obj, ses, task, now
[policy_definition]
p = role, act, obj
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.act == p.act && g(r.sub, p.role) && keyMatch(r.obj, p.obj) && r.ses.id == r.sub && r.ses.session_open && \
r.ses.task == r.task && r.ses.task_open && r.ses.not_before <= r.now && r.now < r.ses.expires_at
"""

Question: TypeAlias = tuple[str, str, str, Job, str, int]


class Casbin:
    """Answers with `Enforcer.enforce`."""

    name = "pycasbin"

    def __init__(self, scenario: Scenario) -> None:
        logging.getLogger("casbin").setLevel(logging.ERROR)
        self._job_of_session = {job.session: job for job in scenario.jobs}
        model = casbin.Enforcer.new_model(text=_MODEL)
        self._enforcer = casbin.Enforcer(model)
        self._enforcer.add_policies([[f"role-{role}", "rows.read", f"prod-{role}/*"] for role in range(ROLES)])
        self._enforcer.add_grouping_policies([[job.id, job.role] for job in scenario.jobs])

    def prepared(self, ask: Ask) -> Question:
        """Return the question as this engine takes it; the caller has looked up the session."""
        job = self._job_of_session[ask.session]
        return ask.job, ask.action, f"{ask.database}/{ask.table}", job, ask.task, NOW

    def answers(self, requests: Sequence[Question]) -> list[bool]:
        """Return whether each is allowed."""
        enforce = self._enforcer.enforce
        return [bool(enforce(*request)) for request in requests]
