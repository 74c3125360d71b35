"""Masking holds for values of any shape: what is named is gone, all else is as it was, equality is kept."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pdp.core.checks.conditions import same
from pdp.core.decide import decide
from pdp.core.model import Attribute, Instant, Request
from pdp.core.snapshot import Snapshot
from pdp.evidence.line.chain import GENESIS, line_of
from pdp.evidence.line.masking import Masking, MaskRule
from pdp.evidence.line.masking_key import MaskingKey
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import DecisionRecord
from pdp.evidence.trace import TraceContext

KEY = MaskingKey(b"k" * 32)
NOW = Instant(1_772_355_600_000_000_001)
NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 0.5, 1e300, 2.0**60]) | st.integers()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8"), max_size=3)
VALUES: st.SearchStrategy[Attribute] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
PATHS = st.lists(st.lists(NAMES | st.just("*"), min_size=1, max_size=4), min_size=1, max_size=3)


def leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield what has nothing inside, by its path."""
    inside = value.items() if isinstance(value, Mapping) else list(enumerate(value)) if isinstance(value, list) else ()
    if not inside:
        yield path, value
    for name, inner in inside:
        yield from leaves(inner, (*path, str(name)))


def is_named(path: tuple[str, ...], named: list[list[str]]) -> bool:
    """Whether a path, or one it is inside of, is named."""
    return any(
        len(path) >= len(steps) and all(one in ("*", step) for one, step in zip(steps, path, strict=False))
        for steps in named
    )


@given(st.dictionaries(NAMES, VALUES, max_size=3), PATHS)
def test_what_is_named_is_gone_and_all_else_is_as_it_was(context: dict[str, Attribute], named: list[list[str]]) -> None:
    """However deep, in mappings and lists."""
    masking = Masking([MaskRule(attributes=[".".join(("context", *steps)) for steps in named])])
    with tempfile.TemporaryDirectory() as directory:
        masking.start(Path(directory))
    request = Request("job", "a", "b:c", context=context)
    record = DecisionRecord(
        decision_id="d-1", trace=TraceContext("a" * 32, "b" * 16), method="Check", request=request,
        decision=decide(request, Snapshot(), NOW), started_at=NOW, ended_at=NOW,
    )  # fmt: skip
    line = json.loads(line_of(body_of(record, masking.applied), 1, GENESIS)[0])
    before = {path: value for path, value in leaves(context) if path}
    after = {path: value for path, value in leaves(line["request"].get("context", {})) if path}
    masked = [tuple(path.split(".")[1:]) for path in line.get("masked", ())]
    kept = {path: value for path, value in after.items() if path[:-1] not in masked}
    assert "omitted" in line or kept == {path: value for path, value in before.items() if not is_named(path, named)}
    assert all(is_named(path, named) for path in masked)


@given(VALUES, VALUES)
def test_digests_are_equal_if_and_only_if_the_values_are(left: Attribute, right: Attribute) -> None:
    """Equal as sessions' constraints compare them."""
    assert (KEY.digest(left) == KEY.digest(right)) is same(left, right)


@given(VALUES)
def test_a_value_and_what_is_read_of_its_json_have_one_digest(value: Attribute) -> None:
    """So that what is searched for is found."""
    assert KEY.digest(value) == KEY.digest(json.loads(json.dumps(value)))
