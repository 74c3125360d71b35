"""What ends a command without an answer: one error for all of them, said the same way everywhere."""

from __future__ import annotations

from collections.abc import Sequence

EXIT_ERROR = 2


class CommandError(Exception):
    """A command that cannot go on: each message becomes one `error: …` line, the hint says what to do."""

    def __init__(self, *messages: str, hint: str = "") -> None:
        """Take one message or several; they are lower case, without final period."""
        super().__init__("\n".join(messages))
        self.messages: Sequence[str] = messages
        self.hint = hint
