"""The reference of the command line, docs/cli.md, made from the commands themselves.

`python -m pdp.cli.reference` prints it; a test holds the file to it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from pdp.cli.main import command_line

_HEAD = """\
# The command line

Made from the commands by `python -m pdp.cli.reference`; not to be edited.

Results go to standard output, everything else to standard error, as `error: …` and `hint: …`. Colour is for terminals
(`NO_COLOR` turns it off, `FORCE_COLOR` on); what is piped is plain, one line a line. With `--json` a command prints one
JSON object a line, whose members may become more but keep their names. `pdp --install-completion` completes commands
and options in your shell. Options win over the environment: `SESSIONPDP_TARGET` says where decisions are asked for,
`SESSIONPDP_ADMIN_TARGET` where facts are changed; without either it is the sockets in `./data`. Who changes them is
said by the bearer token in `PDP_ADMIN_TOKEN` or in a file, by the client certificate, or by the Unix socket itself; no
option takes a token, because others could read it there.
"""
_UNSHOWN = frozenset({"help", "install_completion", "show_completion"})


def reference() -> str:
    """Return the whole reference."""
    group = typer.main.get_command(command_line())
    return "\n".join([_HEAD, *(_section(path, command) for path, command in commands(group, "pdp"))])


def commands(group: object, path: str) -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command with its full name."""
    if isinstance(group, TyperGroup):
        for name, command in group.commands.items():
            yield from commands(command, f"{path} {name}")
    elif isinstance(group, TyperCommand):
        yield path, group


def _section(path: str, command: TyperCommand) -> str:
    context = typer.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    paragraphs = [_paragraph(text) for text in (command.help or "").split("\n\n")]
    lines = [f"## `{path}`", "", f"    {path} {usage}", ""]
    lines += [line for paragraph in paragraphs for line in (paragraph, "")]
    shown = [parameter for parameter in command.get_params(context) if parameter.name not in _UNSHOWN]
    shown.sort(key=_importance)
    records = [parameter.get_help_record(context) for parameter in shown]
    rows = [f"| `{_name(record[0])}` | {_cell(record[1])} |" for record in records if record is not None]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _importance(parameter: object) -> tuple[bool, bool]:
    """Put what a command is about first, and what all commands have last."""
    if not isinstance(parameter, TyperOption):
        return False, False
    return True, bool(parameter.rich_help_panel)


def _paragraph(text: str) -> str:
    """Return a paragraph of help as Markdown; the one with the example keeps its lines."""
    if not text.startswith("\b"):
        return " ".join(text.split())
    example, _, exits = text.removeprefix("\b\nExample:\n").rpartition("\n")
    code = "\n".join(line.removeprefix("  ") for line in example.splitlines())
    return f"```sh\n{code}\n```\n\n{exits}"


def _name(text: str) -> str:
    """Return option or argument with its values, without the types that Python gives them."""
    return re.sub(r" <(str|path|list\[Path\])>$", "", _cell(text)).replace("<list[", "<").replace("]>", ">")


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
