"""Facts files: read whole or not at all, and dumped for people."""

from __future__ import annotations

import pytest

from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalState,
    Consent,
    Duration,
    Entitlement,
    Identity,
    IdentityKind,
    Instant,
    Revocation,
    RevocationTarget,
    Session,
    Signal,
    Task,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.state.document import DocumentError
from pdp.state.facts_file import dump_facts, parse_facts

DUMPED = """\
identities:
- id: 'on'
  kind: human
  owner: "2026-01-01"
  labels: {team: '0755'}
  credential_max_age: 1h

approvals:
- id: a-1
  state: approved
  requested_by: on-call-engineer
  approved_by: security
  actions: [rows.*]
  resources: ['database:prod/**']
  not_before: 2026-03-01T09:00:00Z
  expires_at: 2026-03-01T10:00:00.000000001Z
  consents:
  - by: change-manager
    at: 2026-03-01T09:00:00Z
    groups: [release, 'on']
  - by: security
    at: 2026-03-01T09:00:00Z

tasks:
- id: t-1
- id: t-2
  parent: t-1

sessions:
- id: s-1
  identity: 'on'
  task: t-1
  entitlement: e-1
  actions: [rows.*, schema.alter]
  resources: ['database:prod/**']
  constraints: {source.network: [prod, 1, {zone: null}]}
  not_before: 2026-03-01T09:00:00Z
  expires_at: 2026-03-01T10:00:00.000000001Z
  idle_timeout: 1m30s
""".replace('"2026-01-01"', "'2026-01-01'")

FACTS: list[AnyFact] = [
    Identity(
        id="on",
        kind=IdentityKind.HUMAN,
        owner="2026-01-01",
        labels={"team": "0755"},
        credential_max_age=Duration(3_600 * 10**9),
    ),
    Approval(
        id="a-1",
        state=ApprovalState.APPROVED,
        requested_by="on-call-engineer",
        approved_by="security",
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:prod/**"]),
        not_before=Instant(1_772_355_600_000_000_000),
        expires_at=Instant(1_772_359_200_000_000_001),
        consents=(
            Consent(by="change-manager", at=Instant(1_772_355_600_000_000_000), groups=("release", "on")),
            Consent(by="security", at=Instant(1_772_355_600_000_000_000)),
        ),
    ),
    Task(id="t-1"),
    Task(id="t-2", parent="t-1"),
    Session(
        id="s-1",
        identity="on",
        task="t-1",
        entitlement="e-1",
        actions=ActionScope(["rows.*", "schema.alter"]),
        resources=ResourceScope(["database:prod/**"]),
        constraints={"source.network": ["prod", 1, {"zone": None}]},
        not_before=Instant(1_772_355_600_000_000_000),
        expires_at=Instant(1_772_359_200_000_000_001),
        idle_timeout=Duration(90 * 10**9),
    ),
]


def problems_of(text: str) -> list[str]:
    """Return the problems of a file that must be refused."""
    with pytest.raises(DocumentError) as caught:
        parse_facts(text, "facts.yaml")
    return [line.removeprefix("facts.yaml:") for line in str(caught.value).splitlines()]


def test_facts_are_dumped_for_people() -> None:
    """By kind and id, without what is default, quoted only where YAML would misread."""
    assert dump_facts(reversed(FACTS)) == DUMPED


def test_what_was_dumped_reads_back() -> None:
    """As the same facts."""
    assert parse_facts(DUMPED, "f") == FACTS


def test_revision_and_trace_are_not_dumped() -> None:
    """They are the store's to write."""
    assert dump_facts([Task(id="t", revision=3, traceparent="00-1-2-3")]) == "tasks:\n- id: t\n"


@pytest.mark.parametrize("text", ["", "# none yet", "tasks:", "tasks: []", "{}"])
def test_a_file_may_have_no_facts(text: str) -> None:
    """An empty section is as good as none."""
    assert parse_facts(text, "f") == []


def test_every_kind_of_fact_has_its_section() -> None:
    """Read in the order of the file."""
    text = """\
signals:
  - {id: g, about: i, name: risk, value: {level: 3}, expires_at: 2026-03-01T09:00:00Z}
revocations:
  - {id: r, target: owner, target_id: former-owner, effective_at: 2026-03-01T09:00:00Z, reason: left}
entitlements:
  - {id: e, identity: "ci/**", actions: rows.read, resources: ["database:prod"]}
"""
    instant = Instant(1_772_355_600_000_000_000)
    assert parse_facts(text, "f") == [
        Signal(id="g", about="i", name="risk", value={"level": 3}, expires_at=instant),
        Revocation(
            id="r", target=RevocationTarget.OWNER, target_id="former-owner", effective_at=instant, reason="left"
        ),
        Entitlement(
            id="e",
            identity=IdentityScope(["ci/**"]),
            actions=ActionScope(["rows.read"]),
            resources=ResourceScope(["database:prod"]),
        ),
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[1]", ["1:1: must be a mapping of `identities`, `entitlements`, `approvals`, `tasks`, `sessions`,"]),
        ("tasks: {id: t}", ["1:8: tasks: must be a list"]),
        ("tasks: [t]", ["1:9: tasks[0]: must be a mapping, not a string"]),
        ("sesions: []", ["1:10: sesions: unknown key: did you mean `sessions`?"]),
        (
            "approvals: [{consents: [{at: now}]}]",
            [
                *(f"1:13: approvals[0].{key}: is required" for key in ("id", "requested_by", "actions", "resources")),
                *(f"1:13: approvals[0].{key}: is required" for key in ("not_before", "expires_at")),
                "1:25: approvals[0].consents[0].by: is required",
                "1:30: approvals[0].consents[0].at: `now` is not a time like",
            ],
        ),
        ("x: []", ["1:4: x: unknown key: known keys are `identities`"]),
        ("tasks: [{id: t}, {id: t}]", ["1:23: tasks[1].id: task `t` is given twice, first on line 1"]),
        (
            "tasks:\n- {id: t, stat: open}\n- {id: t}\n- {state: done}\nx:\n",
            [
                "2:17: tasks[0].stat: unknown key: did you mean `state`?",
                "3:8: tasks[1].id: task `t` is given twice, first on line 2",
                "4:3: tasks[2].id: is required",
                "4:11: tasks[2].state: must be one of `open`, `completed`, `cancelled`, not `done`",
                "5:3: x: unknown key",
            ],
        ),
    ],
)
def test_a_file_with_a_problem_is_refused_whole_with_all_of_them(text: str, problems: list[str]) -> None:
    """One line for each."""
    found = problems_of(text)
    assert [line[: len(expected)] for line, expected in zip(found, problems, strict=True)] == problems


def test_facts_of_two_kinds_may_share_an_id() -> None:
    """A fact is named by its kind and id."""
    facts = parse_facts("tasks: [{id: a}]\nidentities: [{id: a, kind: human}]", "f")
    assert [(type(fact), fact.id) for fact in facts] == [(Task, "a"), (Identity, "a")]
