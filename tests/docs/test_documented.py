"""What is not enforced decays: every code, setting and metric is documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import fields
from sessionpdp.v1 import reasons_pb2

from pdp.core.reasons import Code
from pdp.doors import errors
from pdp.evidence import names
from pdp.governance.refusal import Rule
from pdp.governance.roles import Role
from pdp.settings import PrincipalSettings, Settings, Tls, load

DOCS = Path(__file__).parents[2] / "docs"


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
