"""Hot reload: a good set is swapped in whole, a bad one leaves the last good one in place."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from pdp.core.policy.rules import PolicySet
from pdp.state.document import Problem
from pdp.state.policy_files import PolicyWatcher

GOOD = "policy: {name}\nmatch: {{actions: [a], resources: ['x:**']}}\nlimit: {{session_ttl: {ttl}}}\n"


class Seen:
    """What a watcher has reported."""

    def __init__(self, *directories: Path, look_every_seconds: float = 60.0) -> None:
        self.sets: list[PolicySet] = []
        self.refused: list[tuple[Problem, ...]] = []
        self.reported = asyncio.Event()
        self.watcher = PolicyWatcher(
            directories, swap=self._swap, refuse=self._refuse, look_every_seconds=look_every_seconds
        )

    def names(self) -> list[str]:
        """Return the names in the last good set."""
        return [policy.name for policy in self.sets[-1].policies]

    async def until(self, names: list[str]) -> None:
        """Wait until the last good set has these names."""
        while not self.sets or self.names() != names:
            self.reported.clear()
            await self.reported.wait()

    def _swap(self, policies: PolicySet) -> None:
        self.sets.append(policies)
        self.reported.set()

    def _refuse(self, problems: tuple[Problem, ...]) -> None:
        self.refused.append(problems)
        self.reported.set()


async def test_the_first_look_loads(tmp_path: Path) -> None:
    """So that a change between start and watch is not missed."""
    (tmp_path / "p.yaml").write_text(GOOD.format(name="p", ttl="1h"))
    seen = Seen(tmp_path)
    await seen.watcher.look()
    assert seen.names() == ["baseline", "p"]


async def test_nothing_is_loaded_again_without_a_change(tmp_path: Path) -> None:
    """Looking is cheap."""
    (tmp_path / "p.yaml").write_text(GOOD.format(name="p", ttl="1h"))
    seen = Seen(tmp_path)
    await seen.watcher.look()
    await seen.watcher.look()
    assert len(seen.sets) == 1


async def test_a_bad_file_leaves_the_last_good_set(tmp_path: Path) -> None:
    """And is refused once, with its problems."""
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.format(name="p", ttl="1h"))
    seen = Seen(tmp_path)
    await seen.watcher.look()
    path.write_text("policy: p\nmatch: {}\n")
    await seen.watcher.look()
    await seen.watcher.look()
    assert (len(seen.sets), len(seen.refused)) == (1, 1)


async def test_a_mended_file_is_taken(tmp_path: Path) -> None:
    """The failure does not latch."""
    path = tmp_path / "p.yaml"
    path.write_text("no policy")
    seen = Seen(tmp_path)
    await seen.watcher.look()
    path.write_text(GOOD.format(name="p", ttl="2h"))
    await seen.watcher.look()
    assert seen.names() == ["baseline", "p"]


async def test_a_removed_file_ends_its_policy(tmp_path: Path) -> None:
    """What is gone does not apply."""
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.format(name="p", ttl="1h"))
    seen = Seen(tmp_path)
    await seen.watcher.look()
    path.unlink()
    await seen.watcher.look()
    assert seen.names() == ["baseline"]


async def test_a_swapped_config_map_is_noticed(tmp_path: Path) -> None:
    """Kubernetes exchanges the link `..data`; the visible links stay the same."""
    for version, name in (("..1", "p"), ("..2", "q")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "policy.yaml").write_text(GOOD.format(name=name, ttl="1h"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    seen = Seen(tmp_path)
    await seen.watcher.look()
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await seen.watcher.look()
    assert [[policy.name for policy in policies.policies] for policies in seen.sets] == [
        ["baseline", "p"],
        ["baseline", "q"],
    ]


@pytest.mark.parametrize("interval", [60.0, 0.05])
async def test_running_it_notices_new_directories_and_replaced_files(tmp_path: Path, interval: float) -> None:
    """By notices of the operating system, and by looking."""
    seen = Seen(tmp_path, look_every_seconds=interval)
    running = asyncio.create_task(seen.watcher.run())
    try:
        await seen.until(["baseline"])
        # Until the watch is set up there are no notices; a file written by then is found by the next one.
        new = tmp_path / "team"
        new.mkdir()
        for number in range(1, 100):
            draft = new / ".draft"
            draft.write_text(GOOD.format(name="p", ttl=f"{number}h"))
            draft.rename(new / "p.yaml")
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await seen.until(["baseline", "p"])
                    break
        assert seen.names() == ["baseline", "p"]
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_directory_that_comes_back_is_watched_again(tmp_path: Path) -> None:
    """Its absence is refused, its return is noticed."""
    folder = tmp_path / "policies"
    folder.mkdir()
    seen = Seen(folder, look_every_seconds=0.05)
    running = asyncio.create_task(seen.watcher.run())
    try:
        await seen.until(["baseline"])
        folder.rmdir()
        while not seen.refused:
            seen.reported.clear()
            await seen.reported.wait()
        folder.mkdir()
        (folder / "p.yaml").write_text(GOOD.format(name="p", ttl="1h"))
        await seen.until(["baseline", "p"])
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
