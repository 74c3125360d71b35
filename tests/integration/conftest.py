"""Sidecars that listen: each on sockets of its own, gone after the test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from pdp.app import Sidecar
from pdp.settings import Settings
from tests.integration.serving import QUICK, Running, ServerProcess, administration, running, world


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a directory with a short path, as Unix sockets need."""
    directory = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def settings(home: Path) -> Settings:
    """Return settings of a sidecar that lives there."""
    return Settings(data_dir=str(home), state=QUICK, administration=administration())


class Serve:
    """Starts sidecars of this process that the test's end stops."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self.settings = settings
        self._stack = stack

    async def __call__(
        self, *, facts: bool = True, changes: Mapping[str, object] | None = None, **seams: object
    ) -> Running:
        """Start one, with the world's facts unless told otherwise."""
        settings = replace(self.settings, **dict(changes or {}))
        connected = await self._stack.enter_async_context(running(Sidecar(settings, **seams)))  # type: ignore[arg-type]
        if facts:
            await connected.apply(*world())
        return connected


@pytest.fixture
async def serve(settings: Settings) -> AsyncIterator[Serve]:
    """Return what starts sidecars."""
    async with AsyncExitStack() as stack:
        yield Serve(settings, stack)


@pytest.fixture
async def server(serve: Serve) -> Running:
    """Return a running sidecar with the world's facts."""
    return await serve()


@pytest.fixture
def launch(home: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Return what makes server processes; those that still run at the end are killed."""
    made: list[ServerProcess] = []

    def make(config: Mapping[str, object] | None = None) -> ServerProcess:
        made.append(ServerProcess(home, config))
        return made[-1]

    yield make
    for process in made:
        process.close()
