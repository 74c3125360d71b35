"""Policy sets that were in force are kept, so that what they decided can be decided again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pdp.core.policy.rules import PolicySet
from pdp.state.policy_archive import PolicyArchive, PolicyVersionMissingError
from pdp.state.policy_files import PolicyWatcher, compile_files, load, read

POLICY = "policy: p\nmatch: {actions: [a], resources: ['x:**']}\nlimit: {session_ttl: 1h}\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a directory with one policy."""
    directory = tmp_path / "sources"
    directory.mkdir()
    (directory / "p.yaml").write_text(POLICY)
    return directory


def kept(archive: PolicyArchive, sources: Path) -> str:
    """Keep what is in a directory; return its version."""
    files = read([sources])
    version = compile_files(files).version
    archive.keep(files, version)
    return version


def test_a_set_that_was_kept_is_the_same_set(tmp_path: Path, sources: Path) -> None:
    """Whatever becomes of its sources; the baseline of the time is kept with it."""
    archive = PolicyArchive(tmp_path / "kept")
    version = kept(archive, sources)
    (sources / "p.yaml").unlink()

    again = archive.policies(version)

    assert (again.version, [one.name for one in again.policies]) == (version, ["baseline", "p"])


def test_keeping_again_changes_nothing(tmp_path: Path, sources: Path) -> None:
    """One version, one directory, and nothing left beside it."""
    archive = PolicyArchive(tmp_path / "kept")
    version = kept(archive, sources)
    assert kept(archive, sources) == version

    assert [path.name for path in (tmp_path / "kept").iterdir()] == [version]


def test_what_is_kept_is_never_read_as_in_force(tmp_path: Path, sources: Path) -> None:
    """Not even by a directory of policies that has the archive inside of it."""
    version = kept(PolicyArchive(sources / "policies"), sources)

    assert load([sources]).version == version


@pytest.mark.parametrize("version", ["0123456789abcdef", "", "..", "../sources"])
def test_a_version_that_is_not_kept_is_said(tmp_path: Path, version: str) -> None:
    """A record may be forged: what is no version is never a path."""
    with pytest.raises(PolicyVersionMissingError):
        PolicyArchive(tmp_path / "kept").policies(version)


def test_sources_that_were_altered_are_found_out(tmp_path: Path, sources: Path) -> None:
    """They come to another version than the one they are kept under."""
    archive = PolicyArchive(tmp_path / "kept")
    version = kept(archive, sources)
    [source] = (tmp_path / "kept" / version).glob("*-p.yaml.kept")
    source.write_text(POLICY.replace("1h", "2h"))

    with pytest.raises(PolicyVersionMissingError, match="not `"):
        archive.policies(version)


async def test_a_set_that_cannot_be_kept_does_not_come_into_force(tmp_path: Path, sources: Path) -> None:
    """Until it can: then the next look takes it."""
    (tmp_path / "kept").touch()
    archive, sets, refused = PolicyArchive(tmp_path / "kept"), list[PolicySet](), list[str]()
    watcher = PolicyWatcher(
        [sources], swap=sets.append, refuse=lambda problems: refused.append(problems[0].message), keep=archive.keep
    )
    await watcher.look()
    assert (sets, len(refused)) == ([], 1)

    (tmp_path / "kept").unlink()
    await watcher.look()
    assert [one.version for one in sets] == [archive.policies(sets[0].version).version]
