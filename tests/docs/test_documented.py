"""What is not enforced decays: every code, setting and metric is documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import fields
from sessionpdp.v1 import reasons_pb2

from pdp.core.reasons import Code
from pdp.evidence import names
from pdp.settings import Settings, Tls

DOCS = Path(__file__).parents[2] / "docs"


def test_every_reason_code_is_documented_with_its_number() -> None:
    """docs/reasons.md has a row for each code."""
    text = (DOCS / "reasons.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE))

    assert {code: str(reasons_pb2.ReasonCode.Value(f"REASON_CODE_{code}")) for code in Code} == rows


def test_every_setting_is_documented_with_its_default() -> None:
    """docs/configuration.md has a row for each setting."""
    rows = set(re.findall(r"^\| `([\w.]+)` \|", (DOCS / "configuration.md").read_text(), re.MULTILINE))

    assert set(_settings("", Settings)) == rows


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
