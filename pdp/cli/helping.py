"""How every command explains itself: what it does, an example, its exit codes."""

from __future__ import annotations

from collections.abc import Sequence

ASKING_EXITS = "0 allow, 1 deny, 2 error"
DOING_EXITS = "0 done, 2 error"


def help_text(summary: str, *details: str, examples: Sequence[str], exits: str) -> str:
    r"""Return the help of a command; `\b` keeps the lines of a paragraph as they are."""
    shown = "\n".join(f"  {line}" for example in examples for line in example.splitlines())
    return "\n\n".join([summary, *details, f"\b\nExample:\n{shown}\nExit codes: {exits}."])
