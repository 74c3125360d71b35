"""The JSON Schemas published for editors say what the readers say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct
from msgspec.structs import fields
from referencing import Registry, Resource

from pdp.core.model import Approval, Consent, Entitlement, Identity, Revocation, Session, Signal, Task
from pdp.core.policy.compile import WrittenApproval, WrittenPolicy
from pdp.core.policy.model import Limits
from pdp.core.reasons import Code
from pdp.scenarios.reading import read_scenario
from pdp.scenarios.written import (
    WrittenCheck,
    WrittenExpectation,
    WrittenPermissions,
    WrittenScenario,
    WrittenStep,
)
from pdp.state.document import DocumentError, Plain, parse_yaml
from pdp.state.facts_file import SECTIONS, parse_facts
from pdp.state.fields import parse_duration
from pdp.state.policy_files import load

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text())
    for path in (ROOT / "policies/schema").glob("*.schema.json")
}
REGISTRY = Registry().with_resources(
    (str(schema["$id"]), Resource.from_contents(schema)) for schema in SCHEMAS.values()
)
FILES = sorted(
    path
    for folder in ("policies", "tests/scenarios/cases", "pdp/core/policy")
    for path in (ROOT / folder).rglob("*.yaml")
)


def kind_of(name: str) -> str:
    """Return which schema a file of the name should satisfy."""
    if "scenario" in name:
        return "scenario"
    return "facts" if name.startswith("facts") else "policy"


def is_valid(kind: str, data: Plain) -> bool:
    """Whether the data satisfies the schema."""
    return bool(Draft202012Validator(SCHEMAS[kind], registry=REGISTRY).is_valid(data))


def is_read(kind: str, path: Path) -> bool:
    """Whether the product's own reader takes the file."""
    try:
        if kind == "scenario":
            read_scenario(path)
        elif kind == "facts":
            parse_facts(path.read_text(), str(path))
        else:
            load([path])
    except DocumentError:
        return False
    return True


@pytest.mark.parametrize("kind", ["facts", "policy", "scenario"])
def test_each_schema_is_one(kind: str) -> None:
    """Of draft 2020-12."""
    Draft202012Validator.check_schema(SCHEMAS[kind])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_of_the_repository_satisfies_its_schema(path: Path) -> None:
    """What an editor underlines here would be a fault of the schema."""
    assert is_valid(kind_of(path.name), parse_yaml(path.read_text(), str(path)).data)


POLICY = "policy: p\nmatch: {actions: [a], resources: ['x:**']}\n"
SCENARIO = "scenario: s\nnow: 2026-03-01T10:00:00Z\n"
CHECK = "check: {subject: a, action: b, resource: 'c:d'}"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("policy", "policy: p\nlimit: {session_ttl: 1h}\n"),
        ("policy", POLICY),
        ("policy", POLICY + "limit: {session_ttl: 1 hour}\n"),
        ("policy", POLICY + "limit: {ttl: 1h}\n"),
        ("policy", POLICY + "limit: {delegation_depth: -1}\n"),
        ("policy", POLICY + "evidence: sometimes\n"),
        ("policy", POLICY + "deny: [{name: n}]\n"),
        ("policy", POLICY + "deny: [{name: '', cel: 'true'}]\n"),
        ("policy", POLICY + "obligations: [{parameters: {}}]\n"),
        ("policy", POLICY + "require: {approval: {kinds: [verbal]}}\n"),
        ("policy", POLICY + "require: {approval: {kinds: []}}\n"),
        ("policy", POLICY + "require: {approval: {approvers: 0}}\n"),
        ("policy", POLICY + "require: {approval: {groups: []}}\n"),
        ("policy", POLICY + "require: {approval: {groups: ['']}}\n"),
        ("policy", "policy: has space\nmatch: {actions: [a], resources: ['x:**']}\nlimit: {session_ttl: 1h}\n"),
        ("policy", "policy: p\nmatch: {actions: ['a*'], resources: ['x:**']}\nlimit: {session_ttl: 1h}\n"),
        ("policy", "policy: p\nmatch: {actions: [a], resources: [x]}\nlimit: {session_ttl: 1h}\n"),
        ("policy", "policy: p\nmatch: {actions: [], resources: ['x:**']}\nlimit: {session_ttl: 1h}\n"),
        ("policy", "[]\n"),
        ("facts", "identity: []\n"),
        ("facts", "identities: [{id: a}]\n"),
        ("facts", "identities: [{id: a, kind: robot}]\n"),
        ("facts", "identities: [{id: '', kind: workload}]\n"),
        ("facts", "tasks: [{id: a, sate: open}]\n"),
        ("facts", "entitlements: [{id: e, identity: a, actions: [b], resources: [c]}]\n"),
        ("facts", "signals: [{id: s, about: a, name: n, expires_at: 2026-03-01}]\n"),
        ("scenario", SCENARIO),
        ("scenario", SCENARIO + "steps: []\n"),
        ("scenario", SCENARIO + "steps: [{}]\n"),
        ("scenario", SCENARIO + "steps: [{advance: 1m, complete_task: t}]\n"),
        ("scenario", SCENARIO + f"steps: [{{{CHECK}}}]\n"),
        ("scenario", SCENARIO + f"steps: [{{{CHECK}, expect: NO_SUCH_CODE}}]\n"),
        ("scenario", SCENARIO + f"steps: [{{{CHECK}, expect: {{outcom: allow}}}}]\n"),
        ("scenario", SCENARIO + f"steps: [{{{CHECK}, expect: allow, repeat: 0}}]\n"),
        ("scenario", SCENARIO + "steps: [{advance: 1m, expect: allow}]\n"),
        ("scenario", SCENARIO + "steps: [{advance: soon}]\n"),
        ("scenario", SCENARIO + "steps: [{fault: earthquake}]\n"),
        ("scenario", SCENARIO + "steps: [{revoke: {target: session, id: s}}]\n"),
        ("scenario", SCENARIO + "steps: [{certify: {id: e, by: approver}}]\n"),
        ("scenario", "scenario: s\nsteps: [{advance: 1m}]\n"),
    ],
)
def test_a_bad_file_fails_both(tmp_path: Path, kind: str, text: str) -> None:
    """Schema and reader refuse the same."""
    path = tmp_path / f"{kind}.yaml"
    path.write_text(text)
    assert (is_valid(kind, parse_yaml(text, "bad").data), is_read(kind, path)) == (False, False)


def keys(type_: type[Struct]) -> set[str]:
    """Return the keys that a reader takes."""
    return {info.encode_name for info in fields(type_)} - {"revision", "traceparent"}


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("identity", Identity),
        ("entitlement", Entitlement),
        ("approval", Approval),
        ("task", Task),
        ("session", Session),
        ("consent", Consent),
        ("revocation", Revocation),
        ("signal", Signal),
    ],
)
def test_facts_have_the_same_keys_in_schema_and_reader(name: str, type_: type[Struct]) -> None:
    """A key that is added to one is added to the other."""
    assert set(SCHEMAS["facts"]["$defs"][name]["properties"]) == keys(type_)


def test_policies_have_the_same_keys_in_schema_and_reader() -> None:
    """A key that is added to one is added to the other."""
    policy = SCHEMAS["policy"]["$defs"]["policy"]["properties"]
    approval = policy["require"]["properties"]["approval"]["anyOf"][0]["properties"]
    assert (set(policy), set(policy["limit"]["properties"])) == (keys(WrittenPolicy), keys(Limits))
    assert set(approval) == keys(WrittenApproval)


def test_scenarios_have_the_same_keys_in_schema_and_reader() -> None:
    """A key that is added to one is added to the other."""
    schema = SCHEMAS["scenario"]
    definitions = schema["$defs"]
    steps = {key for step in definitions["step"]["oneOf"] for key in step["properties"]}
    expectation = definitions["expectation"]["oneOf"][-1]["properties"]
    assert set(schema["properties"]) == keys(WrittenScenario)
    assert set(definitions["check"]["properties"]) == keys(WrittenCheck)
    assert set(definitions["permissions"]["properties"]) == keys(WrittenPermissions)
    assert set(expectation) == keys(WrittenExpectation)
    assert steps == keys(WrittenStep)


def test_the_sections_of_facts_and_the_codes_are_complete() -> None:
    """Both are closed sets."""
    assert set(SCHEMAS["facts"]["properties"]) == set(SECTIONS)
    assert SCHEMAS["scenario"]["$defs"]["code"]["enum"] == [str(code) for code in Code]


def test_the_baseline_is_described_as_it_is() -> None:
    """The table beside the examples names each of its limits."""
    described = (ROOT / "policies/baseline/README.md").read_text()
    (baseline,) = load([]).policies
    assert baseline.limits == Limits(session_ttl=parse_duration("24h"), delegation_depth=4)
    assert ("`session_ttl: 24h`" in described, "`delegation_depth: 4`" in described) == (True, True)


def test_the_policy_in_the_readme_is_one(tmp_path: Path) -> None:
    """It is the reference that people copy from."""
    blocks = (ROOT / "policies/README.md").read_text().split("```yaml\n")[1:]
    (tmp_path / "policy.yaml").write_text(blocks[0].split("```")[0])
    (tmp_path / "facts.yaml").write_text("")
    (tmp_path / "a.scenario.yaml").write_text(blocks[1].split("```")[0])
    assert [policy.name for policy in read_scenario(tmp_path / "a.scenario.yaml").policies.policies] == [
        "baseline",
        "production-databases",
    ]


def test_every_step_is_in_the_readme() -> None:
    """What is not documented does not exist."""
    readme = (ROOT / "policies/README.md").read_text()
    assert [key for key in keys(WrittenStep) | keys(WrittenExpectation) if f"{key}" not in readme] == []
