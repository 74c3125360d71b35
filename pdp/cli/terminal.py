"""Where output goes: results to standard output, everything else to standard error.

Colour and wrapping are for terminals. What is piped is plain, one line a line, so that it can be searched and cut.
What records and files say may come from whoever asks: characters that command a terminal are shown, not obeyed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

_UNWRAPPED = 100_000
_COMMANDS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")
"""Control characters but for tab and line feed, and those that turn the direction of writing."""


def shown(text: str) -> str:
    """Return text in which what would command a terminal is written as JSON writes it, by its number."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def show(*renderables: RenderableType) -> None:
    """Print results."""
    _print(sys.stdout, renderables)


def remark(*renderables: RenderableType) -> None:
    """Print what is not a result."""
    _print(sys.stderr, renderables)


def show_json(document: Mapping[str, object]) -> None:
    """Print one JSON object on one line."""
    sys.stdout.write(shown(json.dumps(document, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def show_text(text: str) -> None:
    """Print text as it stands."""
    sys.stdout.write(text)
    sys.stdout.flush()


def remark_text(text: str) -> None:
    """Print what is not a result as it stands."""
    sys.stderr.write(text)
    sys.stderr.flush()


def say_error(message: str) -> None:
    """Print `error: …` on standard error."""
    _labelled("error", "bold red", message)


def say_hint(message: str) -> None:
    """Print `hint: …` on standard error."""
    _labelled("hint", "cyan", message)


def _labelled(label: str, style: str, message: str) -> None:
    from rich.text import Text  # noqa: PLC0415  # shells complete without it

    remark(Text.assemble((f"{label}: ", style), message))


class _Shown:
    """A renderable in which nothing but the console's own styles commands the terminal."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment  # noqa: PLC0415  # shells complete without it

        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


def _print(stream: TextIO, given: tuple[RenderableType, ...]) -> None:
    console, renderables = _console(stream), [_Shown(each) for each in given]
    if console.is_terminal:
        console.print(*renderables, sep="\n")
    else:
        with console.capture() as captured:
            console.print(*renderables, sep="\n")
        # Tables are padded to their width, which only a terminal hides.
        stream.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))
    stream.flush()


def _console(stream: TextIO) -> Console:
    from rich.console import Console  # noqa: PLC0415  # shells complete without it

    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _UNWRAPPED
    return console
