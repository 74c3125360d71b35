"""Files that commands write: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a file, readable by its owner only, that takes its name once all was written and is on disk.

    Until then, and if anything fails, a former one stays as it is. A device or a pipe is written to as it stands. What
    goes wrong with the writing becomes CommandError.
    """
    try:
        with _through(path) if path.exists() and not path.is_file() else _aside(path.resolve()) as file:
            yield file
    except OSError as error:
        message = f"cannot write `{path}`: {(error.strerror or str(error)).lower()}"
        raise CommandError(message) from error


@contextmanager
def _through(path: Path) -> Iterator[TextIO]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def _aside(path: Path) -> Iterator[TextIO]:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
