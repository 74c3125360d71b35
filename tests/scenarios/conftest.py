"""The drivers that every scenario is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from pdp.scenarios.core_driver import CoreDriver
from pdp.scenarios.driver import Driver
from tests.scenarios.client_drivers import AsyncClientDriver, BlockingClientDriver
from tests.scenarios.drivers import GrpcDriver

DRIVERS: Mapping[str, Callable[[], Driver]] = {
    "async client": AsyncClientDriver,
    "blocking client": BlockingClientDriver,
    "core": CoreDriver,
    "grpc": GrpcDriver,
}
"""By name. A further door or client is tested with every story by adding it here."""


@pytest.fixture(params=sorted(DRIVERS))
def driver(request: pytest.FixtureRequest) -> Driver:
    """Return a driver for one story."""
    return DRIVERS[request.param]()
