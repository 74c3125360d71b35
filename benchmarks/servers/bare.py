"""The sidecar without evidence: `bare CONFIG`. The floor under what evidence costs; nothing of the product can do this.

Records are made as ever and go nowhere: no journal, no index, no usage, no telemetry.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio import Future
from pathlib import Path

import uvloop

from pdp.app import Sidecar
from pdp.core.model import Instant
from pdp.evidence.evidence import Evidence, EvidenceSettings
from pdp.evidence.record import AnyRecord
from pdp.evidence.telemetry.metrics import Gauges
from pdp.evidence.usage.usage import Restored
from pdp.settings import load


class NoEvidence(Evidence):
    """Takes records and keeps none."""

    def start(self) -> Restored:
        """Open nothing."""
        return Restored({}, {}, Instant(0), 0, None)

    def record_decision(self, record: AnyRecord, *, durable: bool) -> Future[None] | None:
        """Forget it."""

    def record_change(self, record: AnyRecord, *, durable: bool = True) -> Future[None] | None:
        """Forget it."""

    def record_administration(self, record: AnyRecord) -> Future[None] | None:
        """Forget it."""

    def record_lapse(self, record: AnyRecord, *, durable: bool) -> Future[None] | None:
        """Forget it."""

    def record_lifecycle(self, record: AnyRecord) -> None:
        """Forget it."""

    async def close(self, timeout_s: float = 5.0) -> int:  # noqa: ARG002  # it takes none
        """Close nothing."""
        return 0


async def serve(config: str) -> None:
    """Serve until told to stop."""
    sidecar = Sidecar(load(Path(config)))
    gauges = Gauges(revision=lambda: 0, state_age_s=lambda: 0.0, watch_streams=lambda: 0)
    sidecar.evidence = NoEvidence(EvidenceSettings(directory=sidecar.settings.journal_dir), gauges)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sidecar.stopping.set)
    try:
        await sidecar.start()
        await sidecar.stopping.wait()
    finally:
        await sidecar.stop()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
