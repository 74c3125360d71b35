"""What is not enforced decays: every code, setting and metric is documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import fields
from sessionpdp.v1 import reasons_pb2

from pdp.core.reasons import Code
from pdp.core.wording import duration_text
from pdp.doors import errors
from pdp.evidence.telemetry import names
from pdp.governance.refusal import Rule
from pdp.governance.roles import Role
from pdp.governance.rules.entitlements import LONGEST_CERTIFICATION
from pdp.settings import PrincipalSettings, Settings, Tls, load

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PLACES_OF_A_COMMAND = {
    "clients/python/src/sessionpdp/commands.py": "class Commands",
    "cli/governing/fields.py": "\nOPTIONS: ",
    "docs/cli.md": "## `pdp task open`",
    "policies/schema/scenario.schema.json": '"open_task"',
    "policies/README.md": "`open_task`",
    "tests/unit/test_client_governance.py": "\nCOMMANDS: ",
    "tests/unit/test_cli_help.py": "\nVERBS = ",
    "tests/unit/test_cli_governing.py": "\nVERBS = ",
    "tests/integration/test_dry_runs.py": "\nGOOD = ",
    "tests/integration/lifecycle_commands.py": "\nROLES: ",
    "tests/unit/test_command_table.py": "in_the_table",
    "tests/unit/test_scenario_commands.py": "every_command",
}
"""Where commands are listed by hand, or held against each other, and what is there."""


def test_every_reason_code_is_documented_with_its_number() -> None:
    """docs/reasons.md has a row for each code."""
    text = (DOCS / "reasons.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE))

    assert {code: str(reasons_pb2.ReasonCode.Value(f"REASON_CODE_{code}")) for code in Code} == rows


def test_every_rule_of_commands_is_documented_with_what_satisfies_it() -> None:
    """docs/refusals.md has a row for each rule, in their order."""
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", (DOCS / "refusals.md").read_text(), re.MULTILINE)

    assert rows == [*Rule]


def test_every_error_of_the_administration_door_is_documented() -> None:
    """docs/refusals.md has a row for each status and reason that a command or query can end with."""
    rows = set(re.findall(r"^\| ([A-Z_]+) \| `(\w+)` \|", (DOCS / "refusals.md").read_text(), re.MULTILINE))
    named = {(kind.status.name, kind.reason) for kind in errors.DoorError.__subclasses__()}

    assert named - rows == {("RESOURCE_EXHAUSTED", "OVERLOADED"), ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")}


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/configuration.md has a row for each setting."""
    settings, _, _ = (DOCS / "configuration.md").read_text().partition("## Principals")
    rows = set(re.findall(r"^\| `([\w.]+)` \|", settings, re.MULTILINE))

    assert set(_settings("", Settings)) == rows


def test_every_field_of_a_principal_and_every_role_is_documented() -> None:
    """docs/configuration.md has a row for each, behind the settings."""
    _, _, principals = (DOCS / "configuration.md").read_text().partition("## Principals")
    rows = set(re.findall(r"^\| `([\w.]+)` \|", principals, re.MULTILINE))

    assert {info.name for info in fields(PrincipalSettings)} | set(Role) == rows


def test_the_example_of_principals_is_accepted(tmp_path: Path) -> None:
    """With the certificates it names."""
    _, _, principals = (DOCS / "configuration.md").read_text().partition("## Principals")
    for name in ("admin.pem", "admin.key", "administrators.pem"):
        (tmp_path / name).touch()
    (tmp_path / "pdp.yaml").write_text(principals.split("```yaml\n")[1].split("```")[0])

    assert {*load(tmp_path / "pdp.yaml").administration.principals} == {"release-pipeline", "change-manager", "on-call"}


def _settings(prefix: str, group: type[Struct]) -> Iterator[str]:
    for field in fields(group):
        name = f"{prefix}{field.name}"
        if isinstance(field.default, Struct):
            yield from _settings(f"{name}.", type(field.default))
        elif name == "decisions.tls":
            yield from _settings(f"{name}.", Tls)
        else:
            yield name


def test_every_metric_and_span_attribute_is_documented() -> None:
    """docs/evidence.md names each name that telemetry uses."""
    text = (DOCS / "evidence.md").read_text()
    used = [name for key, name in vars(names).items() if key.isupper() and str(name).startswith("pdp.")]

    assert [name for name in used if f"`{name}`" not in text] == []


def test_the_recipe_for_a_command_names_every_place_where_it_is_listed() -> None:
    """Each place is named in ARCHITECTURE.md, and is as it says."""
    _, _, rest = (ROOT / "ARCHITECTURE.md").read_text().partition("## Add a command")
    recipe, _, _ = rest.partition("\n## ")
    moved = [path for path, has in PLACES_OF_A_COMMAND.items() if has not in _text_of(path)]

    assert ([path for path in PLACES_OF_A_COMMAND if path not in recipe], moved) == ([], [])


def test_reason_codes_that_no_decision_would_give_are_explained_among_the_refusals() -> None:
    """Whoever meets one finds what it stands for."""
    text, _, _ = (DOCS / "refusals.md").read_text().partition("| rule |")

    assert [code for code in (Code.POLICY_LIMIT, Code.REQUEST_INVALID) if f"`{code}`" not in text] == []
    assert ("beyond 400 days" in " ".join(text.split()), duration_text(LONGEST_CERTIFICATION)) == (True, "400d")


def test_the_questions_name_commands_that_there_are() -> None:
    """A command that is not in docs/cli.md answers nothing."""
    known = (DOCS / "cli.md").read_text()
    named = set(re.findall(r"`(pdp [a-z-]+(?: [a-z]+)?)", (DOCS / "questions.md").read_text()))
    needed = {"pdp revoke owner", "pdp identity unowned", "pdp identity owner", "pdp review decide"}

    assert needed - named == set()
    assert [one for one in sorted(named) if one not in known] == []


def _text_of(path: str) -> str:
    return next(at for at in (ROOT / path, ROOT / "pdp" / path) if at.exists()).read_text()
