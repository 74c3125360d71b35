"""Masked values: which attributes they are, which are equal, and what else must not quote them."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pdp.core.decide import decide
from pdp.core.decision import Deny, Found
from pdp.core.model import Attribute, Instant, Request
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Snapshot
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.masking import Masking, MaskRule
from pdp.evidence.line.masking_key import MASKING_KEY, MaskingKey, load_key, make_key
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import DecisionRecord
from pdp.evidence.trace import TraceContext
from pdp.evidence.trouble import MaskingKeyError

NOW = Instant(1_772_355_600_000_000_001)
SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "journal-record.json"
CONTEXT: Mapping[str, Attribute] = {
    "email": "somebody@shop.example",
    "region": "eu",
    "user.name": "somebody",
    "owner": {"name": "somebody", "team": {"name": "payments"}},
    "people": [{"email": "a@shop.example", "age": 40}, {"email": "b@shop.example"}],
}


def recorded(request: Request, *denials: Denial) -> DecisionRecord:
    """Return the record of a request that was denied."""
    decision = decide(request, Snapshot(), NOW)
    if denials:
        decision = Deny(denials, Found(), (), 1, "v", NOW, None, durable=False)
    return DecisionRecord(
        decision_id="d-1", trace=TraceContext("a" * 32, "b" * 16), method="Check", request=request,
        decision=decision, started_at=NOW, ended_at=NOW,
    )  # fmt: skip


class Masked:
    """Lines as a masked journal has them."""

    def __init__(self, directory: Path, *attributes: str, when: str | None = None) -> None:
        self.masking = Masking([MaskRule(attributes=list(attributes), when=when)])
        self.masking.start(directory)
        key = load_key(directory)
        assert key is not None
        self.key = key

    def line(self, record: DecisionRecord) -> dict[str, Any]:
        """Return the members of a record's line, which is as the schema says."""
        line: dict[str, Any] = json.loads(line_of(body_of(record, self.masking.applied), 1, GENESIS)[0])
        jsonschema.validate(line, json.loads(SCHEMA.read_text()))
        return line

    def of(self, value: Attribute) -> dict[str, str]:
        """Return what stands in place of a value."""
        return {"masked": self.key.digest(value)}


def asked(**changes: object) -> Request:
    """Return a request with attributes."""
    return Request("job", "rows.read", "database:prod", **({"context": CONTEXT} | changes))  # type: ignore[arg-type]


def at(value: Any, path: str) -> Any:
    """Return the value at a path whose steps have no dots."""
    for step in path.split("."):
        value = value[int(step) if isinstance(value, list) else step]
    return value


@pytest.mark.parametrize(
    ("attribute", "paths"),
    [
        ("context.email", ["context.email"]),
        ("context.owner", ["context.owner"]),
        ("context.owner.team.name", ["context.owner.team.name"]),
        ("context.owner.*", ["context.owner.name", "context.owner.team"]),
        ("context.*.name", ["context.owner.name"]),
        ("context.people.*.email", ["context.people.0.email", "context.people.1.email"]),
        ("context", ["context"]),
    ],
)
def test_each_value_that_a_path_names_is_masked(tmp_path: Path, attribute: str, paths: list[str]) -> None:
    """And no other; `masked` says which."""
    request = asked(context={name: value for name, value in CONTEXT.items() if "." not in name})
    told = Masked(tmp_path, attribute)
    line = told.line(recorded(request))
    before = {"context": request.context}
    assert paths == line["masked"]
    assert [told.of(at(before, path)) for path in paths] == [at(line["request"], path) for path in paths]
    if attribute != "context":
        assert line["request"]["context"]["region"] == "eu"


@pytest.mark.parametrize("attribute", ["context.user.name", "context.user", "context.*.name"])
def test_a_name_with_dots_is_found_as_well(tmp_path: Path, attribute: str) -> None:
    """Whichever way the caller nests it, it is masked."""
    line = Masked(tmp_path, attribute).line(recorded(asked()))
    assert "context.user.name" in line["masked"]
    assert line["request"]["context"]["user.name"] != "somebody"


@pytest.mark.parametrize("root", ["subject_properties", "action_properties", "resource_properties"])
def test_properties_are_masked_as_the_context_is(tmp_path: Path, root: str) -> None:
    """Each by its own name."""
    told = Masked(tmp_path, f"{root}.owner.*")
    line = told.line(recorded(asked(**{root: {"owner": {"email": "x"}}})))
    assert (line["masked"], line["request"][root]) == ([f"{root}.owner.email"], {"owner": {"email": told.of("x")}})


def test_what_no_path_names_is_as_without_masks(tmp_path: Path) -> None:
    """To the byte."""
    told, record = Masked(tmp_path, "context.phone", "action_properties"), recorded(asked())
    assert line_of(body_of(record, told.masking.applied), 1, GENESIS) == line_of(body_of(record), 1, GENESIS)


@pytest.mark.parametrize(
    ("when", "masked"),
    [
        ('context.region == "eu"', True),
        ('context.region == "us"', False),
        ('action.name == "rows.read" && resource.type == "database" && resource.id == "prod"', True),
        ('subject.id == "job" && subject.type == ""', True),
        ('context.nowhere == "eu"', True),
        ("context.region > 5", True),
        ("context.region", True),
    ],
    ids=["true", "false", "action", "subject", "missing", "of another type", "not a truth"],
)
def test_a_condition_that_is_true_or_in_doubt_masks(tmp_path: Path, when: str, masked: bool) -> None:
    """Only one that is plainly false does not."""
    line = Masked(tmp_path, "context.email", when=when).line(recorded(asked()))
    assert ("masked" in line) is masked


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 1.0), ({"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}), (0.0, -0.0), (10**16, 1e16), ((1,), [1])],
)
def test_equal_values_have_equal_digests(left: Attribute, right: Attribute) -> None:
    """As JSON compares them, at any depth."""
    key = MaskingKey(b"k" * 32)
    assert key.digest(left) == key.digest(right)


@pytest.mark.parametrize(
    ("left", "right"), [(1, True), (0, False), ("1", 1), (None, "null"), ([], {}), ("é", "e\u0301")]
)
def test_different_values_have_different_digests(left: Attribute, right: Attribute) -> None:
    """Also where Python calls them equal."""
    key = MaskingKey(b"k" * 32)
    assert key.digest(left) != key.digest(right)


def test_digests_of_other_journals_are_other_digests(tmp_path: Path) -> None:
    """Nobody without the key can check a guess."""
    keys = [make_key(tmp_path / name) for name in ("a", "b")]
    assert len({key.digest("x") for key in keys}) == 2
    assert re.fullmatch(r"hmac-sha256:[0-9a-f]{64}", keys[0].digest("x")) is not None


@pytest.mark.parametrize("poison", ["\ud800", float("nan")])
def test_a_value_that_json_cannot_say_is_left_out_and_not_written(tmp_path: Path, poison: str | float) -> None:
    """With all other attributes, for whoever reads must know that something is missing."""
    request = asked(context={"email": poison, "region": "eu"})
    line = Masked(tmp_path, "context.email").line(recorded(request))
    assert ("context" in line["request"], "omitted" in line) == (False, True)


@pytest.mark.parametrize(
    ("denial", "message"),
    [
        (
            Denial(Code.POLICY_ERROR, "`small` of policy `p` cannot be evaluated: is `a@shop.example`", "policy:p"),
            "`small` of policy `p` cannot be evaluated",
        ),
        (
            Denial(Code.CONTEXT_MISSING, "`somebody@shop.example` is missing, which policy `p` reads in `known`", ""),
            "an attribute is missing, which policy `p` reads in `known`",
        ),
        (
            Denial(Code.CONTEXT_MISSING, "`context.mfa` is missing, which policy `p` reads in `mfa`", ""),
            "`context.mfa` is missing, which policy `p` reads in `mfa`",
        ),
    ],
    ids=["a value", "a value as a key", "a name"],
)
@pytest.mark.parametrize("email", ["somebody@shop.example", "\ud800"])
def test_reasons_quote_nothing_of_what_is_masked(tmp_path: Path, denial: Denial, message: str, email: str) -> None:
    """What was left out because JSON cannot say it included."""
    record = recorded(asked(context={"email": email}), denial)
    assert Masked(tmp_path, "context.email").line(record)["reasons"][0]["message"] == message


def test_reasons_of_what_is_not_masked_keep_their_words(tmp_path: Path) -> None:
    """They help to find the fault."""
    denial = Denial(Code.POLICY_ERROR, "`small` of policy `p` cannot be evaluated: is `eu`", "policy:p")
    record = recorded(asked(context={"region": "eu"}), denial)
    assert Masked(tmp_path, "context.email").line(record)["reasons"][0]["message"] == denial.message


def test_masks_that_were_not_started_let_nothing_out() -> None:
    """Without a key there is no digest, so the attributes are left out."""
    masking = Masking([MaskRule(attributes=["context.email"])])
    line = json.loads(line_of(body_of(recorded(asked()), masking.applied), 1, GENESIS)[0])
    assert ("context" in line["request"], line["omitted"]) == (False, "'masking has not been started'")


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    """And loaded afterwards."""
    masking, again = Masking([]), Masking([])
    made = masking.start(tmp_path / "journal")
    key = load_key(tmp_path / "journal")
    assert key is not None
    assert (made, again.start(tmp_path / "journal")) == (key.fingerprint, "")
    assert [path.name for path in (tmp_path / "journal").iterdir()] == [MASKING_KEY]
    assert stat.S_IMODE((tmp_path / "journal" / MASKING_KEY).stat().st_mode) == 0o600


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    """Also if two starts make one at the same time."""
    assert make_key(tmp_path).fingerprint == make_key(tmp_path).fingerprint


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """It is a secret no more."""
    make_key(tmp_path)
    (tmp_path / MASKING_KEY).chmod(0o640)
    with pytest.raises(MaskingKeyError, match="may be read by others: its mode must be 0600"):
        Masking([]).start(tmp_path)


@pytest.mark.parametrize("content", [b"", b"abc\n", b"\xff" * 65, b"g" * 64 + b"\n"])
def test_what_is_no_key_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    """A new one in its place would make digests incomparable without a word."""
    make_key(tmp_path)
    (tmp_path / MASKING_KEY).write_bytes(content)
    with pytest.raises(MaskingKeyError, match="is not a key"):
        Masking([]).start(tmp_path)
    assert (tmp_path / MASKING_KEY).read_bytes() == content
