"""The scenario for Cedar: one `permit` per role; sessions and tasks are entities that the context refers to.

Policies and entities are parsed once, which is Cedar at its best: a change of any session would parse them anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import cedarpy

from benchmarks.rivals.scenario import NOW, ROLES, TABLES, Ask, Job, Scenario

_POLICY = """
permit (principal in Role::"role-{role}", action == Action::"rows.read", resource in Database::"prod-{role}")
when {{
  context.session.job == principal && context.session.open && context.session.task == context.task &&
  context.task.open && context.session.not_before <= context.now && context.now < context.session.expires_at
}};
"""


class Cedar:
    """Answers with `cedarpy.is_authorized`."""

    name = "cedarpy, parsed beforehand"

    def __init__(self, scenario: Scenario) -> None:
        self._policies = cedarpy.PolicySet.from_str("".join(_POLICY.format(role=role) for role in range(ROLES)))
        entities = [entity for job in scenario.jobs for entity in _entities_of_job(job)]
        entities += [entity for role in range(ROLES) for entity in _entities_of_role(role)]
        self._entities = cedarpy.Entities.from_json_str(json.dumps(entities))

    def prepared(self, ask: Ask) -> Mapping[str, object]:
        """Return the question as this engine takes it."""
        return _question(ask)

    def answers(self, requests: Sequence[Mapping[str, object]]) -> list[bool]:
        """Return whether each is allowed."""
        policies, entities = self._policies, self._entities
        return [cedarpy.is_authorized(dict(request), policies, entities).allowed for request in requests]


class CedarAsText:
    """The same from the texts of policies and entities, parsed at each call."""

    name = "cedarpy, parsed at each call"

    def __init__(self, scenario: Scenario) -> None:
        self._text = "".join(_POLICY.format(role=role) for role in range(ROLES))
        self._of_job = {
            job.id: json.dumps([*_entities_of_job(job), *_entities_of_role(int(job.role.removeprefix("role-")))])
            for job in scenario.jobs
        }

    def prepared(self, ask: Ask) -> Mapping[str, object]:
        """Return the question as this engine takes it."""
        return _question(ask)

    def answers(self, requests: Sequence[Mapping[str, object]]) -> list[bool]:
        """Return whether each is allowed; only the entities of the job itself are given, so the text is short."""
        answers = []
        for request in requests:
            principal = request["principal"]
            entities = self._of_job[principal["id"]] if isinstance(principal, dict) else "[]"
            answers.append(cedarpy.is_authorized(dict(request), self._text, entities).allowed)
        return answers


def _question(ask: Ask) -> Mapping[str, object]:
    context = {
        "session": {"__entity": {"type": "Session", "id": ask.session}},
        "task": {"__entity": {"type": "Task", "id": ask.task}},
        "now": NOW,
    }
    return {
        "principal": {"type": "Job", "id": ask.job},
        "action": {"type": "Action", "id": ask.action},
        "resource": {"type": "Table", "id": f"{ask.database}/{ask.table}"},
        "context": context,
    }


def _entities_of_job(job: Job) -> list[dict[str, object]]:
    session = {
        "job": {"__entity": {"type": "Job", "id": job.id}},
        "task": {"__entity": {"type": "Task", "id": job.task}},
        "open": job.session_open,
        "not_before": job.not_before,
        "expires_at": job.expires_at,
    }
    return [
        _entity("Job", job.id, {}, ("Role", job.role)),
        _entity("Session", job.session, session),
        _entity("Task", job.task, {"open": job.task_open}),
    ]


def _entities_of_role(role: int) -> list[dict[str, object]]:
    tables = [_entity("Table", f"prod-{role}/table-{n}", {}, ("Database", f"prod-{role}")) for n in range(TABLES)]
    return [_entity("Role", f"role-{role}", {}), _entity("Database", f"prod-{role}", {}), *tables]


def _entity(
    type_: str, id_: str, attributes: Mapping[str, object], parent: tuple[str, str] | None = None
) -> dict[str, object]:
    parents = [] if parent is None else [{"type": parent[0], "id": parent[1]}]
    return {"uid": {"type": type_, "id": id_}, "attrs": dict(attributes), "parents": parents}
