"""What is printed may come from whoever asks, or from a file that somebody forged: a terminal must not obey it."""

from __future__ import annotations

import json

import pytest
from rich.text import Text

from pdp.cli.main import main
from pdp.cli.terminal import say_error, show, show_json

CONTROL = "a\x1b[2J\x9b2J\u202eb\u2066"
SHOWN = r"a\u001b[2J\u009b2J\u202eb\u2066"


def test_control_characters_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON writes them; line feeds and other letters stay."""
    show(Text(f"ü {CONTROL}\nnext"))
    assert capsys.readouterr().out == f"ü {SHOWN}\nnext\n"


def test_errors_quote_what_was_said_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    """They often quote input."""
    say_error(f"`{CONTROL}` is unknown")
    assert capsys.readouterr().err == f"error: `{SHOWN}` is unknown\n"


def test_json_means_the_same_and_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What JSON itself would leave as it is, is escaped as well."""
    show_json({"text": CONTROL})
    out = capsys.readouterr().out
    assert (json.loads(out), "\x9b" in out, "\u202e" in out) == ({"text": CONTROL}, False, False)


def test_an_argument_that_is_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Python hands bytes that are not UTF-8 on as lone surrogates, which nothing can store or send."""
    with pytest.raises(SystemExit) as ended:
        main(["journal", "query", "--session", "\udcff"])
    assert (ended.value.code, capsys.readouterr().err) == (2, "error: argument '\\udcff' is not UTF-8\n")
