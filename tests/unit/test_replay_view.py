"""How people read what a replay came to, and what other policies would change."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from rich.console import Console

from pdp.cli.replay_view import replay_view, what_if_json, what_if_view
from pdp.core.reasons import Code
from pdp.evidence.line.decision_json import ReasonJson
from pdp.evidence.replay.replaying import Agrees, Differs, NotComputed
from pdp.evidence.replay.telling import replay_json
from pdp.evidence.replay.what_if import Changed, WhatIf
from tests.unit.test_replay_unseen import recorded

if TYPE_CHECKING:
    from rich.console import RenderableType

ALLOWED = recorded()
DENIED = replace(
    ALLOWED,
    outcome="deny",
    reasons=(ReasonJson("SESSION_CLOSED", "session `s-0` is closed", "session:s-0"),),
    valid_until=None,
)


def shown(what: RenderableType) -> str:
    """Return what is printed."""
    console = Console(width=240, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_an_answer_that_agrees_is_told_with_what_it_rests_on() -> None:
    """Revision and policies are what it was computed from again."""
    text = shown(replay_view(Agrees(ALLOWED)))

    assert text.startswith("agrees\n")
    assert "revision 1, policies v1" in text


def test_a_difference_shows_both_answers() -> None:
    """Each member in which they differ, beside each other."""
    text = shown(replay_view(Differs(ALLOWED, DENIED, ("outcome", "reasons", "valid_until"))))

    assert text.startswith("DIFFERS")
    [outcome] = [line.split() for line in text.splitlines() if "outcome" in line]
    assert outcome == ["outcome", "allow", "deny"]
    assert "session `s-0` is closed" in text


def test_what_was_not_computed_says_why() -> None:
    """And what is on record."""
    text = shown(replay_view(NotComputed(ALLOWED, "policy version `v1` is not kept")))

    assert text.startswith("not computed: policy version `v1` is not kept\n")


@pytest.mark.parametrize(
    ("replayed", "members"),
    [
        (Agrees(ALLOWED), {"result"}),
        (Differs(ALLOWED, DENIED, ("outcome",)), {"result", "differs_in", "computed"}),
        (NotComputed(ALLOWED, "why not"), {"result", "why"}),
    ],
)
def test_machines_get_the_answers_whole(replayed: Agrees | Differs | NotComputed, members: set[str]) -> None:
    """By the names of the record's members."""
    assert replay_json(replayed).keys() == members | {"decision_id", "sequence", "recorded"}


def test_what_would_change_is_counted_with_examples() -> None:
    """By code before and after, the most frequent first."""
    changed = Changed(ALLOWED, Code.POLICY_DENIED, "policy `freeze` denies: freeze")
    counts = Counter(
        {
            ("GRANTED", "POLICY_DENIED"): 3,
            ("TASK_ENDED", "POLICY_DENIED"): 2,
            ("POLICY_DENIED", "GRANTED_BREAK_GLASS"): 1,
        }
    )
    found = WhatIf(9, counts, [changed], Counter({"STATE_STALE says how the sidecar was": 2}))

    lines = [line.strip() for line in shown(what_if_view(found, "v2")).splitlines()]
    assert lines == [
        "6 of 9 decisions would be others under policies v2",
        "3 allowed would be denied, 1 denied would be allowed, 2 would be denied for another reason",
        "3  GRANTED -> POLICY_DENIED",
        "2  TASK_ENDED -> POLICY_DENIED",
        "1  POLICY_DENIED -> GRANTED_BREAK_GLASS",
        "for example",
        "d-1  agent rows.read database:prod  allow GRANTED -> deny POLICY_DENIED: policy `freeze` denies: freeze",
        "2 not computed: STATE_STALE says how the sidecar was",
    ]
    document = what_if_json(found, "v2")
    counted = ("decided", "changed", "allowed_would_be_denied", "denied_would_be_allowed", "denied_for_another_reason")
    assert [document[name] for name in counted] == [9, 6, 3, 1, 2]
    (example,) = document["examples"]  # type: ignore[misc]  # as it is
    assert (example["before_outcome"], example["after_outcome"]) == ("allow", "deny")


def test_an_allow_of_another_kind_is_told_too() -> None:
    """Where there is one."""
    found = WhatIf(1, Counter({("GRANTED", "GRANTED_BREAK_GLASS"): 1}))
    assert ", 1 would be allowed for another reason\n" in shown(what_if_view(found, "v2"))


def test_nothing_that_would_change_is_one_line() -> None:
    """As a pipeline wants it."""
    assert shown(what_if_view(WhatIf(decided=5), "v2")).strip() == "0 of 5 decisions would be others under policies v2"
