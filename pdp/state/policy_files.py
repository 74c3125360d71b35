"""Policies as files: read, compiled as a whole, and watched.

Rule 1: a policy set is loaded whole or not at all; every problem is reported at its file, line and column.
Rule 2: no file is silently left out. What is neither a policy, a scenario, nor facts by its name is refused, and so
is a link that leads out of its directory.
Rule 3: while the files are at fault, the last good set stays.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from importlib import resources
from pathlib import Path

from msgspec import Struct
from watchfiles import awatch

from pdp.core.policy.compile import (
    DENIALS,
    REQUIREMENTS,
    Complaint,
    WrittenCondition,
    WrittenPolicy,
    compile_conditions,
    compile_policy,
    content_version,
)
from pdp.core.policy.model import Policy
from pdp.core.policy.rules import PolicySet
from pdp.state.document import Document, DocumentError, Plain, Problem, parse_yaml
from pdp.state.document import Path as KeyPath
from pdp.state.fields import decode
from pdp.state.scalar_text import place_inside

MAX_FILE_BYTES = 1024 * 1024
_LOOK_EVERY_SECONDS = 5.0
_BASELINE = "baseline.yaml"


class PolicyFile(Struct, frozen=True):
    """A file that was read, not yet compiled."""

    document: Document
    text: str
    places: tuple[KeyPath, ...] | None = None
    """Where in the document its policies are; None: it is one policy or a list of them."""


def load(directories: Sequence[Path]) -> PolicySet:
    """Return the policies of every file in the directories (or of the file, where one is named), and the baseline.

    Raises DocumentError with everything that is wrong in any of them.
    """
    return compile_files(read(directories))


def compile_files(files: Sequence[PolicyFile]) -> PolicySet:
    """Return the policies of files that were read; raises DocumentError. To be called on one thread only."""
    return _assembled([_compiled(file) for file in files])


def read(directories: Sequence[Path]) -> tuple[PolicyFile, ...]:
    """Read and parse all files, the built-in baseline first. Does not compile, so any thread may call it.

    Raises DocumentError.
    """
    baseline = resources.files("pdp.core.policy").joinpath(_BASELINE).read_text(encoding="utf-8")
    files = [PolicyFile(parse_yaml(baseline, _BASELINE), baseline)]
    paths, problems = policy_paths(directories)
    for path in paths:
        try:
            files.append(_read(path))
        except DocumentError as error:
            problems += error.problems
    if problems:
        raise DocumentError(tuple(problems))
    return tuple(files)


def policy_paths(directories: Sequence[Path]) -> tuple[list[Path], list[Problem]]:
    """Return every file that holds policies, sorted within each directory, and what is wrong with the directories."""
    paths: list[Path] = []
    problems: list[Problem] = []
    for directory in directories:
        try:
            root = directory.resolve(strict=True)
            paths += [directory] if root.is_file() else _paths_below(directory, root, {root}, problems)
        except (OSError, RuntimeError) as error:
            problems.append(_problem(directory, _cause(error)))
    return paths, problems


def _paths_below(directory: Path, root: Path, seen: set[Path], problems: list[Problem]) -> Iterator[Path]:
    """Yield policy files; hidden names are skipped, which includes the `..data` of a mounted ConfigMap.

    The files of a ConfigMap are links into its `..data`, which lies inside the tree; so they are found as themselves.
    """
    for path in sorted(directory.iterdir()):
        if path.name.startswith("."):
            continue
        real = path.resolve()
        if not real.is_relative_to(root):
            problems.append(_problem(path, f"is a link that leads out of `{root}`"))
        elif real.is_dir():
            if path.name == "schema":
                problems += _hidden_policies(path.rglob("*.yaml"))
            elif real not in seen:
                seen.add(real)
                yield from _paths_below(path, root, seen, problems)
        elif path.suffix != ".yaml":
            if path.suffix.lower() in _NEARLY_YAML:
                problems.append(_problem(path, "is not read: name it `.yaml`"))
        elif not _is_for_scenarios(path.name):
            yield path
        else:
            problems += _hidden_policies([path])


def _hidden_policies(paths: Iterable[Path]) -> Iterator[Problem]:
    """Yield a problem for each file that its name or folder keeps from being read, although it holds a policy."""
    for path in paths:
        if path.is_file() and _POLICY_KEY.search(path.read_bytes()):
            yield _problem(path, "holds a policy, but lies among, or is named as, what is not read as one")


_NEARLY_YAML = (".yaml", ".yml")
_POLICY_KEY = re.compile(rb"^(?:- +)?policy *:", re.MULTILINE)


def _is_for_scenarios(name: str) -> bool:
    return "scenario" in name or name.startswith("facts")


def _read(path: Path) -> PolicyFile:
    if not path.is_file():
        raise DocumentError((_problem(path, "is not a regular file"),))
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DocumentError((_problem(path, _cause(error)),)) from None
    document = parse_yaml(text, str(path), max_bytes=MAX_FILE_BYTES)
    return PolicyFile(document, text.decode().removeprefix("\ufeff"))


def _problem(path: Path, message: str) -> Problem:
    return Problem(str(path), 1, 1, "", message)


def _cause(error: OSError | RuntimeError) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot be read: {(reason or 'a link leads back to itself').lower()}"


class _Compiled(Struct, frozen=True):
    """What one file came to: policies with the key path of each, and problems."""

    document: Document
    policies: tuple[tuple[KeyPath, Policy], ...]
    problems: tuple[Problem, ...]


def _compiled(file: PolicyFile) -> _Compiled:
    """Compile the policy, or the list of policies, of a file."""
    document = file.document
    policies: list[tuple[KeyPath, Policy]] = []
    problems: list[Problem] = []
    for path in _places(file):
        data = _value_at(document.data, path)
        written, faults = decode(document, path, WrittenPolicy, data)
        if written is None:
            problems += faults
            problems += [_located(file, path, complaint) for complaint in _complaints_of_conditions(file, path, data)]
            continue
        compiled = compile_policy(written)
        if isinstance(compiled, Policy):
            policies.append((path, compiled))
        else:
            problems += [_located(file, path, complaint) for complaint in compiled]
    return _Compiled(document, tuple(policies), tuple(problems))


def _complaints_of_conditions(file: PolicyFile, path: KeyPath, data: Plain) -> tuple[Complaint, ...]:
    """Return what is wrong with the conditions of a policy that has other faults, so that none waits for the others."""
    found: list[Complaint] = []
    for where in (REQUIREMENTS, DENIALS):
        written = _value_at(data, where)
        read = [
            ((*where, number), decode(file.document, (*path, *where, number), WrittenCondition, item)[0])
            for number, item in enumerate(written if isinstance(written, list) else ())
        ]
        whole = [(place, condition) for place, condition in read if condition is not None]
        found += compile_conditions("", whole)[1]
    return tuple(found)


def _places(file: PolicyFile) -> Sequence[KeyPath]:
    if file.places is not None:
        return file.places
    data = file.document.data
    return [(number,) for number in range(len(data))] if isinstance(data, list) and data else [()]


def _located(file: PolicyFile, path: KeyPath, complaint: Complaint) -> Problem:
    """Return the problem at its place in the file, inside of an expression where the complaint says so."""
    whole = file.document.problem((*path, *complaint.path), complaint.message)
    value = _value_at(file.document.data, (*path, *complaint.path))
    if not complaint.line or not isinstance(value, str):
        return whole
    start = (whole.line, whole.column)
    line, column = place_inside(file.text, start, value, (complaint.line, complaint.column))
    return Problem(whole.source, line, column, whole.path, whole.message)


def _value_at(data: Plain, path: KeyPath) -> Plain:
    for step in path:
        if isinstance(data, dict) and isinstance(step, str):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return None
    return data


def _assembled(compiled: Sequence[_Compiled]) -> PolicySet:
    """Return the set; raise DocumentError if any file has a problem or two policies share a name."""
    problems = [problem for file in compiled for problem in file.problems]
    places: dict[str, str] = {}
    for file in compiled:
        for path, policy in file.policies:
            line, _ = file.document.position(path)
            first = places.setdefault(policy.name, f"{file.document.source}:{line}")
            if first != f"{file.document.source}:{line}":
                message = f"policy `{policy.name}` is already defined at {first}"
                problems.append(file.document.problem((*path, "policy"), message))
    if problems:
        raise DocumentError(tuple(sorted(problems, key=_place)))
    policies = [policy for file in compiled for _, policy in file.policies]
    return PolicySet(policies, content_version(policies))


def _place(problem: Problem) -> tuple[str, int, int]:
    return problem.source, problem.line, problem.column


class PolicyWatcher:
    """Loads the set anew whenever a file changes, and hands it over only when all of it is good.

    Changes are noticed by the operating system's notices, and by looking every few seconds, which finds what notices
    miss: network file systems, a directory that was replaced as a whole, a file that was half written at the notice.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        swap: Callable[[PolicySet], None],
        refuse: Callable[[tuple[Problem, ...]], None],
        keep: Callable[[Sequence[PolicyFile], str], None] | None = None,
        look_every_seconds: float = _LOOK_EVERY_SECONDS,
    ) -> None:
        """`swap` gets each good set, `refuse` the problems of a bad one; both are called on the event loop.

        `keep` gets the sources and version of a good set before `swap` does, on a thread; a set that it cannot keep
        (OSError) is refused, and tried again at the next look.
        """
        self._directories = tuple(directories)
        self._swap = swap
        self._refuse = refuse
        self._keep = keep
        self._interval = look_every_seconds
        self._seen: _Fingerprint | None = None

    async def run(self) -> None:
        """Watch until cancelled. The first look loads whatever is there, so nothing changed before it is missed."""
        await self.look()
        while True:
            async with aclosing(self._notices()) as notices:
                async for _ in notices:
                    await self.look()

    async def look(self) -> None:
        """Load the set if any file has changed since the last look."""
        fingerprint = await asyncio.to_thread(_fingerprint, self._directories)
        if fingerprint == self._seen:
            return
        try:
            policies = await self._load()
        except DocumentError as error:
            self._refuse(error.problems)
        except OSError as error:
            self._refuse((_problem(Path(error.filename or "policies"), f"cannot be kept: {error.strerror or error}"),))
            return
        else:
            self._swap(policies)
        # Taken before the load: a change during it makes the next look load again.
        self._seen = fingerprint

    async def _load(self) -> PolicySet:
        # CEL is not known to be thread-safe, so only reading leaves the loop; between files others have their turn.
        files = await asyncio.to_thread(read, self._directories)
        compiled = []
        for file in files:
            compiled.append(_compiled(file))
            await asyncio.sleep(0)
        policies = _assembled(compiled)
        if self._keep is not None:
            await asyncio.to_thread(self._keep, files, policies.version)
        return policies

    async def _notices(self) -> AsyncGenerator[None, None]:
        """Yield at every notice and at the end of every interval; end when there is nothing to watch any more."""
        milliseconds = max(1, int(self._interval * 1000))
        watching = awatch(
            *self._directories, watch_filter=None, debounce=200, rust_timeout=milliseconds, yield_on_timeout=True
        )
        try:
            async with aclosing(watching):
                async for _ in watching:
                    yield
        except (OSError, RuntimeError):  # nothing there to watch, or no more watches to be had: looking is left
            await asyncio.sleep(self._interval)
            yield


_Fingerprint = tuple[tuple[str, str, int, int, int], ...]
"""Of each file: its path, what that leads to, inode, time of change and size."""


def _fingerprint(directories: Sequence[Path]) -> _Fingerprint:
    paths, problems = policy_paths(directories)
    found = [(str(problem), "", 0, 0, 0) for problem in problems]
    for path in paths:
        try:
            status = path.stat()
            found.append((str(path), str(path.resolve()), status.st_ino, status.st_mtime_ns, status.st_size))
        except (OSError, RuntimeError):
            found.append((str(path), "", 0, 0, 0))
    return tuple(found)
