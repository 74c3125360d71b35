"""Parts of the program run in processes of their own: what they print comes back, and so does what goes wrong."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from pdp.evidence.apart import ApartError, ApartLateError, run_apart
from pdp.evidence.seals.verifying import Verified
from pdp.evidence.seals.verifying_apart import VerificationError, VerificationLateError, verify_apart


def test_what_it_prints_comes_back() -> None:
    """As bytes."""
    assert run_apart("platform", "--terse", within_s=60).decode().strip() == platform.platform(terse=True)


def test_what_goes_wrong_is_said() -> None:
    """By the last line of it, and the exit code."""
    with pytest.raises(ApartError, match=r"No module named pdp\.missing") as failed:
        run_apart("pdp.missing", within_s=60)
    assert failed.value.code == 1


def test_what_takes_too_long_is_ended() -> None:
    """Whoever waits has a deadline."""
    with pytest.raises(ApartLateError):
        run_apart("platform", within_s=0)


def test_what_cannot_be_started_is_said() -> None:
    """A path with a zero byte is no path."""
    with pytest.raises(ApartError, match="null byte"):
        run_apart("platform", "\0", within_s=60)


def test_files_of_the_current_directory_are_not_taken_for_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they are called."""
    (tmp_path / "msgspec.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(verify_apart(tmp_path / "none", 60), Verified)


def test_a_verification_says_why_it_could_not_be_done(tmp_path: Path) -> None:
    """In its own words."""
    with pytest.raises(VerificationLateError, match="the deadline passed before the whole journal was checked"):
        verify_apart(tmp_path, 0)
    (tmp_path / "signing.pub").write_text("no key")
    with pytest.raises(VerificationError):
        verify_apart(tmp_path, 60)
