"""What `pdp journal query`, `show` and `export` say beyond the records: how many, what is missing, what is none."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pdp.cli.main import main
from pdp.core.model import Drop, FactKind, Put, Task
from pdp.evidence.journal.segments import first_sequence_of, segments_of
from pdp.evidence.record import AnyRecord, ChangeRecord
from tests.integration.test_journal_archive import all_but_last_compressed
from tests.sealed_journals import NOW, keep, use

Told: TypeAlias = tuple[int, str, str]
"""Exit code, standard output and standard error."""
Pdp: TypeAlias = Callable[..., Told]

EVENTS = "abcdefghij"
CHANGED = ChangeRecord(
    revision=4,
    changes=(Put(Task(id="t-1", owner="o")), Drop(FactKind.TASK, "t-2")),
    method="CompleteTask",
    actor="alex",
    reason="done",
    at=NOW,
)


@pytest.fixture
def pdp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pdp:
    """Return what runs a command on the journal in `data`, relative to an empty directory."""
    for name in ("FORCE_COLOR", "COLUMNS", "SESSIONPDP_ADMIN_TARGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Told:
        with pytest.raises(SystemExit) as exit_:
            main(["journal", *arguments])
        said = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return exit_.value.code, said.out, said.err

    return run


def journal(*records: str | AnyRecord, compressed: bool = False) -> Path:
    """Write a journal of two records a segment, and return its directory."""
    directory = Path("data", "journal")
    directory.mkdir(parents=True, exist_ok=True)
    keep(directory, *records, compressed=compressed, until=lambda: not compressed or all_but_last_compressed(directory))
    return directory


def sequences(lines: str) -> list[int]:
    """Return the sequences of lines."""
    return [json.loads(line)["seq"] for line in lines.splitlines()]


def break_line(directory: Path, sequence: int) -> None:
    """Flip a bit of a record, so that it is none."""
    for segment in segments_of(directory):
        text = segment.read_bytes()
        if b'"seq":%d,' % sequence in text:
            segment.write_bytes(text.replace(b'"seq":%d,' % sequence, b'"seq"\x1a%d,' % sequence))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "2"], "the newest 2; there are more: `--limit`, `--until` or `export` give the rest\n"),
        (
            ["--limit", "2", "--oldest-first"],
            "the oldest 2; there are more: `--limit`, `--since` or `export` give the rest\n",
        ),
        (["--limit", "3"], ""),
    ],
)
def test_that_there_is_more_is_said(pdp: Pdp, options: list[str], said: str) -> None:
    """On standard error, also beside JSON; silence means that this is all."""
    journal(*"abc")
    for form in ([], ["--json"]):
        code, out, error = pdp("query", *options, *form)
        assert (code, len(out.splitlines()), error) == (0, int(options[1]), said)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["query", option, ""] for option in ("--identity", "--owner", "--session", "--task", "--approval", "--code")),
        ["export", "--ticket", ""],
    ],
)
def test_an_empty_condition_is_refused(pdp: Pdp, arguments: list[str]) -> None:
    """It would ask for everything: a script's variable that is not set."""
    journal("a")
    code, out, error = pdp(*arguments)
    assert (code, out, error) == (2, "", f"error: `{arguments[1]}` must not be empty\n")


@pytest.mark.parametrize("arguments", [["show", ""], ["replay", ""]])
def test_an_empty_name_is_refused(pdp: Pdp, arguments: list[str]) -> None:
    """Rather than any record told."""
    journal("a")
    assert pdp(*arguments) == (2, "", "error: `ID` must not be empty\n")


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_an_empty_time_is_refused(pdp: Pdp, option: str) -> None:
    """As any other that is none."""
    journal("a")
    code, out, error = pdp("export", option, "")
    assert (code, out, f"`{option}`: `` is neither a time nor how long ago" in error) == (2, "", True)


def test_what_follows_a_pipe_that_was_closed_is_not_the_journals_fault(tmp_path: Path) -> None:
    """Whoever reads has had enough; nothing is said of it."""
    directory = tmp_path / "data" / "journal"
    directory.mkdir(parents=True)
    keep(directory, *EVENTS)
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from pdp.cli.main import main; main()", "journal", "query"],
            cwd=tmp_path,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (2, "")


def test_an_export_says_how_many(pdp: Pdp) -> None:
    """On standard error, so that a file can be compared with it."""
    journal(*"abc")
    assert pdp("export", "--code", "a")[2] == "1 record written\n"
    assert pdp("export", "--output", "all.jsonl") == (0, "", "3 records written\n")


def test_a_file_is_replaced_by_its_owners_alone(pdp: Pdp) -> None:
    """Whatever the mode of the former one; a link leads to the new one."""
    journal("a")
    file, link = Path("all.jsonl"), Path("link.jsonl")
    file.write_text("before")
    file.chmod(0o644)
    link.symlink_to(file)
    assert pdp("export", "-o", "link.jsonl")[0] == 0
    assert (file.stat().st_mode & 0o777, sequences(file.read_text()), link.is_symlink()) == (0o600, [1], True)


def test_a_file_stays_if_the_export_fails(pdp: Pdp, tmp_path: Path) -> None:
    """Half an export is none."""
    break_line(journal(*EVENTS), 9)
    Path("all.jsonl").write_text("before")
    code, out, error = pdp("export", "-o", "all.jsonl")
    assert (code, out, "record 8" in error) == (2, "", True)
    assert (Path("all.jsonl").read_text(), sorted(path.name for path in tmp_path.iterdir())) == (
        "before",
        ["all.jsonl", "data"],
    )


def test_what_cannot_be_written_is_said(pdp: Pdp) -> None:
    """With its name; a device is written to, never replaced."""
    journal("a")
    assert pdp("export", "-o", "none/all.jsonl") == (
        2,
        "",
        "error: cannot write `none/all.jsonl`: no such file or directory\n",
    )
    assert pdp("export", "-o", "/dev/null")[0] == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("command", [["export"], ["query", "--oldest-first", "--json"]])
def test_what_is_before_a_broken_place_is_told(pdp: Pdp, command: list[str], *, indexed: bool) -> None:
    """And up to where, with exit code 2; whether the index had the record or not."""
    directory = journal(*EVENTS)
    if indexed:
        (directory / "lock").touch()
        pdp("query")
    break_line(directory, 9)
    code, out, error = pdp(*command)
    assert (code, sequences(out)) == (2, [1, 2, 3, 4, 5, 6, 7, 8])
    assert "is not a record" in error
    assert "all that is asked for up to record 8 was found" in error
    assert "hint: `pdp journal verify` names every broken place" in error


def test_what_is_before_a_broken_block_is_told(pdp: Pdp) -> None:
    """A compressed segment is told whole or not at all."""
    directory = journal(*EVENTS, compressed=True)
    segment = next(path for path in segments_of(directory) if first_sequence_of(path) == 7)
    text = bytearray(segment.read_bytes())
    text[60] ^= 1
    segment.write_bytes(text)
    code, out, error = pdp("export")
    assert (code, sequences(out)) == (2, [1, 2, 3, 4, 5, 6]), error


def test_the_newest_behind_a_broken_place_are_not_guessed(pdp: Pdp) -> None:
    """What could be shown would not be the newest; the oldest that are asked for are there."""
    break_line(journal(*EVENTS), 9)
    code, out, error = pdp("query", "--json", "--limit", "2")
    assert (code, out, "is not a record" in error) == (2, "", True)
    code, out, error = pdp("query", "--json", "--limit", "2", "--oldest-first")
    assert (code, sequences(out), "there are more" in error) == (0, [1, 2], True)
    assert (pdp("show", "8", "--json")[0], pdp("show", "10", "--json")[0]) == (0, 2)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("GRANTD", "hint: there is no code `GRANTD`; `GRANTED` is one\n"),
        ("granted", "hint: there is no code `granted`; `GRANTED` is one\n"),
        ("XQZ", "hint: there is no code `XQZ`\n"),
        ("FOUR_EYES", ""),
        ("OpenSession", ""),
        ("session_idle", ""),
        ("began_anew", ""),
    ],
)
def test_nothing_found_is_told_from_a_code_that_is_none(pdp: Pdp, code: str, hint: str) -> None:
    """Events are not a closed set: what may be one is not doubted."""
    journal("a")
    assert pdp("query", "--code", code) == (0, "", f"no record meets that\n{hint}")
    assert pdp("export", "--code", code) == (0, "", f"no record meets that\n{hint}")


def test_nothing_found_without_a_code_doubts_no_code(pdp: Pdp) -> None:
    """Nothing is said of one that nobody named."""
    journal("a")
    assert pdp("query", "--session", "nix") == (0, "", "no record meets that\n")


@pytest.mark.parametrize("command", [["query"], ["export"], ["what-if", "--policies", "none"]])
def test_a_period_that_ends_before_it_begins_is_refused(pdp: Pdp, command: list[str]) -> None:
    """Nothing can lie in it."""
    journal("a")
    code, out, error = pdp(*command, "--since", "2026-03-02", "--until", "2026-03-01T09:00:00Z")
    assert (code, out, error) == (2, "", "error: `--until 2026-03-01T09:00:00Z` is not after `--since 2026-03-02`\n")


def test_a_date_is_its_midnight(pdp: Pdp) -> None:
    """In UTC, as all times of the journal."""
    journal("a")  # on 2026-03-01, at 09:00
    assert sequences(pdp("query", "--json", "--since", "2026-03-01", "--until", "2026-03-02")[1]) == [1]
    assert pdp("query", "--json", "--since", "2026-03-02")[1] == ""


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "01.03.2026", "2026-03-01 09:00"])
def test_what_is_no_time_is_answered_with_every_form(pdp: Pdp, text: str) -> None:
    """How long ago, a time, a date."""
    journal("a")
    _, _, error = pdp("query", "--since", text)
    assert error == (
        f"error: `--since`: `{text}` is neither a time nor how long ago\n"
        "hint: say `7d` for seven days ago, or a time like `2026-03-01T09:00:00Z`; a date like `2026-03-01` is "
        "midnight UTC\n"
    )


def test_a_table_says_who_changed_what(pdp: Pdp) -> None:
    """By which command, and why."""
    journal(CHANGED)
    (row,) = csv.DictReader(pdp("export", "--format", "csv")[1].splitlines())
    assert [row[name] for name in ("kind", "actor", "about", "method", "reason")] == [
        "change",
        "alex",
        "task:t-1 task:t-2",
        "CompleteTask",
        "done",
    ]


def test_only_a_decision_is_replayed(pdp: Pdp) -> None:
    """Named by its sequence, as `show` takes it."""
    journal("a", use())
    assert pdp("replay", "1") == (2, "", "error: record `1` is no decision, but of kind `lifecycle`\n")
    assert "record `7` is not in the journal" in pdp("replay", "7")[2]


def test_a_socket_without_its_scheme_is_named(pdp: Pdp) -> None:
    """Otherwise a host of that name would be looked for."""
    journal("a")
    Path("data", "admin.sock").touch()
    assert pdp("query", "--admin", "data/admin.sock") == (
        2,
        "",
        "error: `--admin`: `data/admin.sock` is a file, not an address\nhint: write `unix:data/admin.sock`\n",
    )


def head_before(directory: Path) -> None:
    """Leave the head as it was a record ago, as it is while a sidecar runs."""
    older = (directory / "head.seal").read_bytes()
    keep(directory, "z")
    (directory / "head.seal").write_bytes(older)


def without_keys(directory: Path) -> None:
    """Remove every seal and every key."""
    for path in (*directory.glob("*.seal"), *directory.glob("signing.*")):
        path.unlink()


def without_anything(directory: Path) -> None:
    """Remove every file."""
    for path in directory.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("change", "code", "heading", "sealed"),
    [
        (lambda _: None, 0, "intact", "sealed     up to record 10 (5 segments and the head)"),
        (head_before, 0, "intact", "sealed     up to record 10 (5 segments and the head)"),
        (
            without_keys,
            1,
            "not sealed",
            "sealed     no: there is no key, so whoever can write here can have written all",
        ),
        (
            without_anything,
            0,
            "empty",
            "sealed     no: there is no key, as before a first start, or when all of a journal",
        ),
    ],
)
def test_a_journal_that_nobody_vouches_for_is_not_called_intact(
    pdp: Pdp, change: Callable[[Path], object], code: int, heading: str, sealed: str
) -> None:
    """Exit code 0 is for what is sealed, and for what has no record at all."""
    change(journal(*EVENTS))
    returned, out, _ = pdp("verify")
    assert (returned, out.splitlines()[0]) == (code, heading)
    assert sealed in out
    assert json.loads(pdp("verify", "--json")[1])["sealed"] is (heading == "intact")


def test_verify_tells_machines_the_same_members_whatever_it_finds(pdp: Pdp) -> None:
    """Nobody must ask first whether `broken` is there; what a broken journal cannot tell is null."""

    def told() -> dict[str, object]:
        said = json.loads(pdp("verify", "--json")[1])
        return {name: said[name] for name in ("intact", "broken", "sealed", "unsealed")}

    directory = journal(*EVENTS)
    assert told() == {"intact": True, "broken": [], "sealed": True, "unsealed": 0}
    head_before(directory)
    assert told() == {"intact": True, "broken": [], "sealed": True, "unsealed": 1}
    (directory / "head.seal").unlink()
    what = "it is missing: whether the youngest records were cut off cannot be told"
    broken = [{"segment": "head.seal", "line": 1, "sequence": 0, "what": what}]
    assert told() == {"intact": False, "broken": broken, "sealed": None, "unsealed": None}
    without_keys(directory)
    assert told() == {"intact": True, "broken": [], "sealed": False, "unsealed": 11}


def test_verify_says_how_far_what_it_found_can_be_believed(pdp: Pdp) -> None:
    """Which records are not sealed yet, and where the key is from."""
    directory = journal(*EVENTS)
    assert "unsealed" not in pdp("verify")[1]
    head_before(directory)
    said = " ".join(pdp("verify")[1].split())
    assert "unsealed record 11: until the next head is signed, within about a minute or at the next start, who" in said
    assert "`signing.pub` beside the journal: whoever can write here can replace it, and sign all of it anew" in said
    trusted = " ".join(pdp("verify", "--key", str(directory / "signing.pub"))[1].split())
    assert trusted.endswith(", given with `--key`")
