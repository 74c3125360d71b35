"""Steps that command: read with every problem at its place, carried out or refused, and told clearly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from msgspec import NODEFAULT
from msgspec.structs import fields
from referencing import Registry, Resource

from pdp.core.model import Duration
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.wording import SECOND
from pdp.governance.commands import CloseSession, RenewSession, RequestApproval
from pdp.governance.refusal import Rule
from pdp.governance.roles import Principal, Role
from pdp.governance.table import ROWS
from pdp.scenarios.commanding import COMMANDS_BY_NAME, RULES_BY_NAME, name_of
from pdp.scenarios.core_driver import CoreDriver
from pdp.scenarios.reading import read_scenario
from pdp.scenarios.report import results_text
from pdp.scenarios.runner import Results, ScenarioFilter, run_scenarios
from pdp.scenarios.story import CarryOut, ExpectedRefusal
from pdp.state.document import DocumentError, parse_yaml

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "policies/schema/scenario.schema.json").read_text())
REGISTRY = Registry().with_resources(
    (one["$id"], Resource.from_contents(one))
    for one in map(json.loads, (path.read_text() for path in (ROOT / "policies/schema").glob("*.schema.json")))
)
HEAD = """scenario: s
now: 2026-03-01T10:00:00Z
policies: []
principals:
  release-manager: {roles: [requester, approver], groups: [team], identities: ["bot"]}
  change-manager: {roles: [approver]}
facts:
  identities: [{id: bot, kind: workload, owner: platform}]
steps:
"""
REQUEST = "{id: a, identity: bot, actions: [read], resources: ['db:**'], justification: a fix, ttl: 90m}"
ASK = f"- by: release-manager\n  command: request_approval\n  with: {REQUEST}\n"


def write(folder: Path, steps: str) -> Path:
    """Write a scenario with these steps; the first is at line 10."""
    path = folder / "a.scenario.yaml"
    path.write_text(HEAD + steps)
    return path


def command_of(folder: Path, steps: str) -> CarryOut:
    """Return what the first step asks for."""
    action = read_scenario(write(folder, steps)).steps[0].action
    assert isinstance(action, CarryOut)
    return action


def problems(folder: Path, steps: str) -> list[str]:
    """Return the problems of a scenario, each with line and column."""
    with pytest.raises(DocumentError) as caught:
        read_scenario(write(folder, steps))
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems]


async def run(path: Path) -> Results:
    """Run one scenario against the core."""
    return await run_scenarios([path], ScenarioFilter(), CoreDriver)


async def differences(folder: Path, steps: str) -> list[tuple[str, str, str]]:
    """Return field, expected and actual of all that differs."""
    (result,) = (await run(write(folder, steps))).results
    return [tuple(one) for failure in result.failures for one in failure.differences]


def test_a_principal_has_a_name_roles_groups_and_identities(tmp_path: Path) -> None:
    """As in the sidecar's configuration."""
    principals = read_scenario(write(tmp_path, ASK)).principals
    assert principals[0] == Principal(
        name="release-manager",
        roles=frozenset({Role.REQUESTER, Role.APPROVER}),
        groups=frozenset({"team"}),
        identities=IdentityScope(["bot"]),
    )


def test_a_command_has_its_own_fields(tmp_path: Path) -> None:
    """Durations, instants and scopes as everywhere in files."""
    assert command_of(tmp_path, ASK) == CarryOut(
        command=RequestApproval(
            id="a",
            identity="bot",
            actions=ActionScope(["read"]),
            resources=ResourceScope(["db:**"]),
            justification="a fix",
            ttl=Duration(90 * 60 * SECOND),
        ),
        principal="release-manager",
    )


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        ("FOUR_EYES", ExpectedRefusal(rules=(Rule.FOUR_EYES,), complete=False)),
        ("[FOUR_EYES]", ExpectedRefusal(rules=(Rule.FOUR_EYES,), complete=True)),
    ],
)
def test_one_rule_is_the_first_and_a_list_is_all(tmp_path: Path, refused: str, expected: ExpectedRefusal) -> None:
    """As with `code` and `codes`."""
    assert command_of(tmp_path, f"{ASK}  expect: {{refused: {refused}}}\n").expect == expected


def test_a_command_without_a_name_of_its_own_is_named_for_who_asks_what(tmp_path: Path) -> None:
    """A failure must be found."""
    assert read_scenario(write(tmp_path, ASK)).steps[0].name == "release-manager commands request_approval"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{by: release-manager, command: aprove, with: {}}", "10:34: `aprove` is no command: did you mean `approve`?"),
        ("{by: nobody, command: approve, with: {approval_id: a}}", "10:8: `nobody` is not among `principals`"),
        ("{command: approve, with: {approval_id: a}}", "10:3: is required"),
        ("{by: change-manager, command: approve}", "10:3: is required"),
        (
            "{by: change-manager, command: approve, with: {approval_id: a, why: x}}",
            "10:70: unknown key: known keys are `approval_id`",
        ),
        ("{by: change-manager, command: approve, with: {approval_id: ''}}", "10:62: must not be empty"),
        ("{by: change-manager, command: reject, with: {approval_id: a}}", "10:3: is required by `reject`"),
        (
            "{by: change-manager, command: decide_review, with: {review_id: 'entitlement:e', choice: keep}}",
            "10:54: is required to keep or narrow an entitlement",
        ),
        (
            "{by: release-manager, command: renew_session, with: {session_id: s, ttl: long}}",
            "10:76: `long` is not a duration like `1h30m`, `90s` or `250ms`",
        ),
        (
            "{by: release-manager, command: narrow_session, with: {session_id: s, actions: []}}",
            "10:81: must name a pattern",
        ),
        (
            "{by: change-manager, command: grant_entitlement, with: {identity: [a, b], actions: x, resources: 'y:z'}}",
            "10:69: must be a single pattern",
        ),
        (
            "{by: change-manager, command: approve, with: {approval_id: a}, expect: {refused: FOUR_EYE}}",
            "10:84: `FOUR_EYE` is no rule: did you mean `FOUR_EYES`?",
        ),
        (
            "{by: change-manager, command: approve, with: {approval_id: a}, expect: {refused: []}}",
            "10:84: must name a rule; a command without `expect` must be carried out",
        ),
        ("{by: change-manager, command: approve, with: {approval_id: a}, expect: {}}", "10:74: is required"),
        (
            "{by: change-manager, command: approve, with: {approval_id: a}, repeat: 2}",
            "10:74: `command` cannot be repeated",
        ),
        ("{advance: 1m, reason: why}", "10:25: has no meaning for `advance`"),
        (
            "{by: change-manager, command: approve, with: {approval_id: a}, advance: 1m}",
            "10:3: a step must have exactly one verb, with its value; found `command`, `advance`",
        ),
    ],
)
def test_a_bad_command_is_refused_where_it_stands(tmp_path: Path, step: str, expected: str) -> None:
    """At the very place."""
    found = problems(tmp_path, f"- {step}\n")
    assert found == [expected]


def test_a_bad_principal_is_refused_where_it_stands(tmp_path: Path) -> None:
    """A role that is none, a pattern that is none, a name that is none."""
    path = tmp_path / "a.scenario.yaml"
    path.write_text(
        "scenario: s\nnow: 2026-03-01T10:00:00Z\nsteps: [{advance: 1m}]\nprincipals:\n"
        "  a: {roles: [boss]}\n  b: {identities: ['x*']}\n"
    )
    with pytest.raises(DocumentError) as caught:
        read_scenario(path)
    assert [problem.line for problem in caught.value.problems] == [5, 6]


async def test_what_is_commanded_is_in_force_in_the_next_step(tmp_path: Path) -> None:
    """One commits, the other decides on it."""
    path = write(tmp_path, f"{ASK}- by: change-manager\n  command: approve\n  with: {{approval_id: a}}\n")
    assert (await run(path)).passed


async def test_a_refusal_that_was_expected_passes(tmp_path: Path) -> None:
    """With all that may be compared."""
    step = (
        "- by: release-manager\n  command: approve\n  with: {approval_id: a}\n  expect: {refused: [FOUR_EYES], "
        "message: requested approval `a`, remedy: no part in it, about: 'approval:a'}\n"
    )
    assert (await run(write(tmp_path, ASK + step))).passed


async def test_a_refusal_that_was_not_expected_is_told_with_rule_message_and_remedy(tmp_path: Path) -> None:
    """And with file, line and who asked for what."""
    path = write(tmp_path, f"{ASK}- by: release-manager\n  command: approve\n  with: {{approval_id: a}}\n")
    assert results_text(await run(path)) == (
        "failed  s\n"
        f"  {path}:13: step 2 (release-manager commands approve)\n"
        "    outcome:\n"
        "      expected: carried out\n"
        "      actual:   refused\n"
        "    reasons:\n"
        "      FOUR_EYES: `release-manager` requested approval `a`\n"
        "    remedy: have somebody decide who has no part in it\n"
        "1 scenario: 0 passed, 1 failed\n"
    )


async def test_a_command_that_should_have_been_refused_is_told(tmp_path: Path) -> None:
    """With the rule that did not hold."""
    assert await differences(tmp_path, f"{ASK}  expect: {{refused: [NOT_YOURS, FOUR_EYES]}}\n") == [
        ("outcome", "refused: NOT_YOURS, FOUR_EYES", "carried out")
    ]


@pytest.mark.parametrize(
    ("expect", "expected"),
    [
        ("refused: NOT_YOURS", ("refused", "NOT_YOURS", "FOUR_EYES")),
        ("refused: [FOUR_EYES, NOT_YOURS]", ("refused", "FOUR_EYES, NOT_YOURS", "FOUR_EYES")),
        ("refused: FOUR_EYES, message: x y", ("message", "… x y …", "`release-manager` requested approval `a`")),
        ("refused: FOUR_EYES, remedy: x", ("remedy", "… x …", "have somebody decide who has no part in it")),
        ("refused: FOUR_EYES, about: 'approval:b'", ("about", "approval:b", "approval:a")),
    ],
)
async def test_each_field_of_a_refusal_is_compared(tmp_path: Path, expect: str, expected: tuple[str, str, str]) -> None:
    """An expectation that is not looked at would be worse than none."""
    step = f"- by: release-manager\n  command: approve\n  with: {{approval_id: a}}\n  expect: {{{expect}}}\n"
    assert await differences(tmp_path, ASK + step) == [expected]


async def test_no_role_no_command(tmp_path: Path) -> None:
    """Before any rule is asked, and the roles that would do are named."""
    step = "- {by: change-manager, command: open_task, with: {id: t}, expect: {refused: ROLE_REQUIRED, message: %s}}\n"
    message = '"`change-manager` has no role that permits `OpenTask`; `requester`, `operator` would"'
    assert (await run(write(tmp_path, step % message))).passed


async def test_a_command_that_would_write_no_lawful_fact_ends_the_story(tmp_path: Path) -> None:
    """Every door refuses it as malformed, so it is a mistake of the story's author."""
    step = '- by: release-manager\n  command: open_task\n  with: {id: "a\\tb"}\n'
    (result,) = (await run(write(tmp_path, step))).results
    assert [(failure.line, failure.error.partition(" ")[0]) for failure in result.failures] == [(10, "`id`")]


async def test_a_new_fact_without_an_id_gets_one(tmp_path: Path) -> None:
    """Twice the same command makes two facts."""
    step = "- by: release-manager\n  command: open_task\n  with: {}\n"
    assert (await run(write(tmp_path, step + step))).passed


def test_commands_are_named_as_clients_name_them() -> None:
    """The name in the contract, in snake case."""
    assert (name_of(RenewSession), name_of(CloseSession)) == ("renew_session", "close_session")


def test_the_schema_has_every_command_with_its_fields() -> None:
    """A field that is added to one is added to the other."""
    written = SCHEMA["$defs"]["commands"]
    shown = {name: (set(one["properties"]), set(one["required"])) for name, one in written.items()}
    known = {
        name: (
            {info.name for info in fields(row.command)},
            {info.name for info in fields(row.command) if info.default is NODEFAULT is info.default_factory},
        )
        for name, row in COMMANDS_BY_NAME.items()
    }
    assert shown == known


def test_the_schema_knows_the_same_words() -> None:
    """Roles, rules, commands, and which of them need a reason."""
    definitions = SCHEMA["$defs"]
    rules = [word for one in definitions["rule"]["anyOf"] for word in one.get("enum", definitions["code"]["enum"])]
    step = definitions["step"]["oneOf"][-1]
    needing = {one["if"]["properties"]["command"]["const"] for one in step["allOf"] if "required" in one["then"]}
    assert definitions["principal"]["properties"]["roles"]["items"]["enum"] == [str(role) for role in Role]
    assert sorted(rules) == sorted(RULES_BY_NAME)
    assert step["properties"]["command"]["enum"] == list(COMMANDS_BY_NAME)
    assert needing == {name_of(row.command) for row in ROWS if row.needs_reason}


@pytest.mark.parametrize(
    ("step", "is_valid"),
    [
        ("{by: a, command: approve, with: {approval_id: x}}", True),
        ("{by: a, command: approve, with: {approval_id: x}, expect: {refused: [FOUR_EYES, TASK_ENDED]}}", True),
        ("{by: a, command: approve, with: {session_id: x}}", False),
        ("{by: a, command: reject, with: {approval_id: x}}", False),
        ("{by: a, command: reject, with: {approval_id: x}, reason: too wide}", True),
        ("{command: approve, with: {approval_id: x}}", False),
        ("{by: a, command: approve, with: {approval_id: x}, expect: {refused: NO}}", False),
        ("{by: a, command: renew_session, with: {session_id: x, ttl: long}}", False),
    ],
)
def test_an_editor_underlines_a_bad_command(step: str, *, is_valid: bool) -> None:
    """By the schema."""
    data = parse_yaml(f"scenario: s\nnow: 2026-03-01T10:00:00Z\nsteps: [{step}]\n", "a").data
    assert Draft202012Validator(SCHEMA, registry=REGISTRY).is_valid(data) is is_valid


def test_the_readme_names_every_command_with_its_fields() -> None:
    """What is not documented does not exist."""
    readme = (ROOT / "policies/README.md").read_text()
    words = {name_of(row.command) for row in ROWS} | {info.name for row in ROWS for info in fields(row.command)}
    assert sorted(word for word in words if word not in readme) == []
