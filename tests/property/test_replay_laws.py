"""Replay: every decision of a random story agrees with what journal, change log and policies make of it again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pdp.core.policy.rules import PolicySet
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.replay.past import Past
from pdp.evidence.replay.recorded import decision_in
from pdp.evidence.replay.replaying import Agrees, Differs, NotComputed, Replayed, replay, replay_decision
from pdp.evidence.replay.what_if import Period, what_if
from tests.property.replayed_story import StoryWithPast, with_another_end


def replayed(story: StoryWithPast, directory: Path) -> list[Replayed]:
    """Walk the journal once, and compute every decision again."""
    past, found = Past(story.history), []
    for entry in read(directory):
        recorded = decision_in(entry.raw)
        if recorded is not None:
            found.append(replay(recorded, past, story.policies.__getitem__))
        past.count_line(entry.raw)
    return found


def told(number: int, steps: int, directory: Path) -> StoryWithPast:
    """Run a story and write its journal."""
    story = StoryWithPast(number)
    story.run(steps)
    directory.mkdir()
    story.write(directory)
    return story


def hold(directory: Path, stories: int, steps: int) -> Counter[str]:
    """Tell stories; every decision must agree. Return what their decisions were, by code."""
    codes: Counter[str] = Counter()
    for number in range(stories):
        found = replayed(told(number, steps, directory / str(number)), directory / str(number))
        assert [one for one in found if isinstance(one, Differs)] == []
        skipped = {one.recorded.code for one in found if isinstance(one, NotComputed)}
        assert skipped <= {"STATE_STALE", "STATE_BEHIND"}
        codes.update(one.recorded.code for one in found)
    return codes


def test_every_decision_of_a_random_story_agrees(tmp_path: Path) -> None:
    """Policy changes, revocations, uses, delegation and moves of the clock included."""
    codes = hold(tmp_path, stories=8, steps=150)

    assert codes["GRANTED"] > 50
    assert len(codes) > 15


@pytest.mark.slow
def test_every_decision_of_ten_thousand_steps_agrees(tmp_path: Path) -> None:
    """Many stories, so that most reasons come up."""
    codes = hold(tmp_path, stories=50, steps=200)

    assert codes["GRANTED"] > 1000
    assert len(codes) > 30


def test_one_decision_is_found_and_agrees(tmp_path: Path) -> None:
    """In whichever segment it stands; the uses before it are those of the segments before."""
    directory = tmp_path / "journal"
    story = told(3, 300, directory)
    every = [one for one in map(decision_in, (entry.raw for entry in read(directory))) if one is not None]

    for recorded in every[::7]:
        again = replay_decision(directory, recorded.decision_id, story.history, story.policies.__getitem__)
        assert again.recorded == recorded
        assert not isinstance(again, Differs)


def test_a_change_log_that_was_rewritten_is_found_out(tmp_path: Path) -> None:
    """Nothing of the difference is hidden."""
    directory = tmp_path / "journal"
    story = told(5, 100, directory)
    story.commits = list(map(with_another_end, story.commits))

    differing = [one for one in replayed(story, directory) if isinstance(one, Differs)]

    assert any("valid_until" in one.members for one in differing)


def test_the_policies_of_the_time_would_change_nothing(tmp_path: Path) -> None:
    """What-if under the set that was in force throughout gives the answers on record."""
    directory = tmp_path / "journal"
    story = told(11, 200, directory)
    agreeing = [one for one in replayed(story, directory) if isinstance(one, Agrees)]

    for version, policies in story.policies.items():
        found = what_if(directory, story.history, policies, Period())
        assert found.decided == len(agreeing)
        otherwise = sum(one.recorded.policy_version != version for one in agreeing)
        assert found.changes.total() <= otherwise


def test_a_set_that_asks_for_less_never_denies_what_was_allowed(tmp_path: Path) -> None:
    """Without policies the facts alone decide."""
    directory = tmp_path / "journal"
    story = told(7, 200, directory)

    found = what_if(directory, story.history, PolicySet(), Period())

    assert found.changes.total() > 0
    assert not any(before.startswith("GRANTED") for before, _ in found.changes)
