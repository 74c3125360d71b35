"""What ends a command without an answer: one error for all of them, said the same way everywhere."""

from __future__ import annotations

from collections.abc import Sequence

EXIT_ERROR = 2


class CommandError(Exception):
    """A command that cannot go on: each message becomes one `error: …` line, the hint says what to do."""

    def __init__(self, *messages: str, hint: str = "", hints: Sequence[str] = ()) -> None:
        """Take messages, lower case, without final period, and one hint for all of them or one `hints` for each."""
        super().__init__("\n".join(messages))
        self.messages: Sequence[str] = messages
        self.hints: Sequence[str] = hints or [hint] * len(messages)

    @property
    def hint(self) -> str:
        """What helps against the first message."""
        return self.hints[0] if self.hints else ""
