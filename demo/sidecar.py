"""A real sidecar for the demonstration, in a process and a directory of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from pdp.governance.tokens import hash_of, new_token

_PATIENCE_S = 20.0


class DemoSidecar:
    """Runs `pdp serve` while it is entered."""

    def __init__(
        self, directory: Path, policies: Path, principals: Mapping[str, Mapping[str, list[str]]], collector: int
    ) -> None:
        """`principals` by name, with roles and identities; each gets a token. `collector`: port of an OTLP receiver."""
        self.tokens = {name: new_token() for name in principals}
        self.data = directory / "data"
        self.target = f"unix:{self.data / 'pdp.sock'}"
        self.admin_target = f"unix:{self.data / 'admin.sock'}"
        known = {name: {**one, "tokens": [hash_of(self.tokens[name])]} for name, one in principals.items()}
        self._config = directory / "pdp.yaml"
        settings = {
            "data_dir": "data",
            "policies": [str(policies)],
            "telemetry": {"otlp_endpoint": f"http://127.0.0.1:{collector}"},
            "administration": {"principals": known},
        }
        self._config.write_text(yaml.safe_dump(settings))

    def __enter__(self) -> Self:
        """Start it, and wait until its doors are there."""
        self._server = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "pdp", "serve", "--config", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + _PATIENCE_S
        while not (self.data / "admin.sock").exists():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self._server.kill()
                _, log = self._server.communicate()
                message = f"the sidecar did not start: {log.decode()}"
                raise RuntimeError(message)
            time.sleep(0.05)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._server.send_signal(signal.SIGTERM)
        self._server.communicate(timeout=_PATIENCE_S)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._server.pid
