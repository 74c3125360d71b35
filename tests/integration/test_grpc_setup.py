"""What the package tells gRPC before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SERVE = """
import os, pdp, grpc
from concurrent import futures
grpc.server(futures.ThreadPoolExecutor(1)).stop(0)
print(os.environ["GRPC_EXPERIMENTS"])
"""


@pytest.mark.parametrize("told", [None, "-event_engine_client"])
def test_grpc_knows_what_it_is_told_and_the_environment_wins(told: str | None) -> None:
    """An experiment is no promise: one that gRPC no longer knows is complained of on standard error."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    environment |= {} if told is None else {"GRPC_EXPERIMENTS": told}
    line = [sys.executable, "-c", SERVE]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ((told or "-event_engine_listener") + "\n", "")
