"""The drivers that every scenario is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from pdp.scenarios.core_driver import CoreDriver
from pdp.scenarios.driver import Driver

DRIVERS: Mapping[str, Callable[[], Driver]] = {"core": CoreDriver}
"""By name. A further door or client is tested with every story by adding it here."""


@pytest.fixture(params=sorted(DRIVERS))
def driver(request: pytest.FixtureRequest) -> Driver:
    """Return a driver for one story."""
    return DRIVERS[request.param]()
