"""What the command line says about itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pdp.cli.main import command_line, main
from pdp.cli.reference import commands, reference

ROOT = Path(__file__).parents[2]
COMMANDS = dict(commands(typer.main.get_command(command_line()), "pdp"))

VERBS = {
    "identity": "register owner suspend reinstate retire unowned list show",
    "entitlement": "grant narrow certify remove list show",
    "approval": "request approve reject withdraw list show",
    "break-glass": "take",
    "task": "open complete cancel list show",
    "session": "open renew narrow close delegate list show",
    "revocation": "lift list",
    "review": "list show decide",
}


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing wrapped or coloured, wherever this runs: build servers pass for terminals."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", None)


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    said = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, said.out, said.err


def test_there_are_the_commands_that_are_promised() -> None:
    """No more and no fewer, so that neither comes or goes unnoticed."""
    asking = {"pdp check", "pdp explain", "pdp permissions", "pdp watch"}
    governing = {f"pdp {noun} {verb}" for noun, verbs in VERBS.items() for verb in verbs.split()} | {"pdp revoke"}
    administering = {"pdp import", "pdp export", "pdp admin token", "pdp admin whoami"}
    judging = {"pdp test", "pdp policy check"}
    running = {"pdp serve", "pdp version", "pdp journal tail", "pdp journal verify", "pdp journal digest"}
    recorded = {"pdp journal query", "pdp journal show", "pdp journal export"}
    recorded |= {"pdp journal replay", "pdp journal what-if"}
    assert set(COMMANDS) == asking | governing | administering | judging | running | recorded


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_explains_itself(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What it does, an example, exit codes."""
    code, out, _ = _run([*path.split()[1:], "--help"], capsys)
    assert code == 0
    assert f"Usage: {path}" in out
    assert "Example:" in out
    assert "Exit codes:" in out


def test_the_reference_is_current() -> None:
    """`python -m pdp.cli.reference > docs/cli.md` makes it so."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("path", COMMANDS)
def test_every_example_is_one_that_can_be_run(path: str) -> None:
    """Its commands, arguments and options are those there are."""
    shown = (COMMANDS[path].help or "").partition("Example:\n")[2].partition("Exit codes:")[0].replace("\\\n", "")
    lines = [shlex.split(found) for found in re.findall(r"\bpdp [^|>)\n]*", shown)]
    assert lines != []
    for words in lines:
        named = next(" ".join(words[:count]) for count in (3, 2) if " ".join(words[:count]) in COMMANDS)
        COMMANDS[named].make_context(named, words[len(named.split()) :])


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_says_what_it_means(path: str) -> None:
    """An option without help is one that nobody finds."""
    context = typer.Context(COMMANDS[path], info_name=path)
    silent = [one.name for one in COMMANDS[path].get_params(context) if not getattr(one, "help", "")]
    assert silent == []


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["chek"], "error: no such command `chek`", "hint: `pdp --help` explains it"),
        (["check", "--subjekt", "x"], "error: no such option: --subjekt", "hint: `pdp check --help` explains it"),
        (["revoke", "thing", "x", "--reason", "y"], "`thing` is not one of `identity`", "hint: `pdp revoke --help`"),
        (["entitlement", "certify", "x"], "missing option `--until`", "hint: `pdp entitlement certify --help`"),
        (["approval", "reject", "x"], "missing option `--reason`", "hint: `pdp approval reject --help`"),
        (["task", "complete"], "error: missing argument", "hint: `pdp task complete --help`"),
    ],
)
def test_a_mistake_is_said_as_any_other_error(
    arguments: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with exit code 2 and where to read on."""
    code, out, err = _run(arguments, capsys)
    assert (code, out) == (2, "")
    assert error in err
    assert hint in err


def test_the_versions_are_told_by_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    """As most programs do."""
    code, out, _ = _run(["--version"], capsys)
    assert (code, out) == (0, _run(["version"], capsys)[1])


def test_asking_does_not_load_the_server() -> None:
    """A command that asks should be there at once, and knows nothing of how an answer is made."""
    script = (
        "import sys\n"
        "from pdp.cli.main import main\n"
        "try:\n"
        "    main(['check', '--subject', 'a', '--action', 'b', '--resource', 'c:d', '--target', 'unix:/nowhere'])\n"
        "except SystemExit as exit_:\n"
        "    assert exit_.code == 2\n"
        "heavy = ('pdp.app', 'pdp.doors', 'pdp.state', 'pdp.evidence', 'opentelemetry', 'cel_expr_python', 'yaml')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
