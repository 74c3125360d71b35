"""What the command line says about itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pdp.cli.main import command_line, main
from pdp.cli.reference import commands, reference

ROOT = Path(__file__).parents[2]
COMMANDS = dict(commands(typer.main.get_command(command_line()), "pdp"))


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
    governing = {"pdp import", "pdp export", "pdp revoke", "pdp task complete", "pdp session close"}
    judging = {"pdp test", "pdp policy check"}
    running = {"pdp serve", "pdp version", "pdp journal tail", "pdp journal verify"}
    assert set(COMMANDS) == asking | governing | judging | running


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
