"""Every policy set that was ever in force, kept as its sources under its content version.

Rule 1: a set is kept before it comes into force, so that whatever it decides can be decided again.
Rule 2: a version that is there is whole: it is written aside, synced, then renamed.
Rule 3: what is read back is compiled anew and must come to the same version, else it is as good as missing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pdp.core.policy.rules import PolicySet
from pdp.state.document import DocumentError, parse_yaml
from pdp.state.policy_files import PolicyFile, compile_files

_SUFFIX = ".kept"
"""Not `.yaml`, so that no directory of policies which has the archive inside of it reads what is kept as in force."""
_LONGEST_NAME = 200
"""Characters of a source's own name that are kept, for people."""


class PolicyVersionMissingError(LookupError):
    """The sources of a version are not kept, or do not come to that version any more; the message says which."""


class PolicyArchive:
    """Keeps sources in `<directory>/<version>/`, one file each, in the order in which they were read."""

    def __init__(self, directory: Path) -> None:
        """Keep in `directory`, which is made with the first version."""
        self._directory = directory

    def keep(self, files: Sequence[PolicyFile], version: str) -> None:
        """Write the sources of a version, unless they are there; raise OSError. Any thread may call it."""
        kept = self._directory / version
        if kept.is_dir():
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=self._directory))
        try:
            for number, file in enumerate(files):
                _write(aside / f"{number:04d}-{Path(file.document.source).name[-_LONGEST_NAME:]}{_SUFFIX}", file.text)
            _sync(aside)
            aside.rename(kept)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            # Somebody else may have kept it meanwhile.
            if not kept.is_dir():
                raise
        _sync(self._directory)

    def policies(self, version: str) -> PolicySet:
        """Return the set of a version; raise PolicyVersionMissingError. On the thread that compiles policies only."""
        kept = self._directory / version
        if not version.isalnum():
            message = f"`{version}` is no policy version"
            raise PolicyVersionMissingError(message)
        try:
            policies = compile_files([_read(path) for path in sorted(kept.iterdir())])
        except FileNotFoundError:
            message = f"policy version `{version}` is not kept in `{self._directory}`"
            raise PolicyVersionMissingError(message) from None
        except (OSError, UnicodeError, DocumentError) as error:
            message = f"policy version `{version}` in `{kept}` cannot be read: {error}"
            raise PolicyVersionMissingError(message) from error
        if policies.version != version:
            message = f"what `{kept}` holds is version `{policies.version}`, not `{version}`"
            raise PolicyVersionMissingError(message)
        return policies


def _read(path: Path) -> PolicyFile:
    text = path.read_bytes().decode()
    return PolicyFile(parse_yaml(text, str(path)), text)


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
