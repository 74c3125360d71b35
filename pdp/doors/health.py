"""grpc.health.v1, whole: Check, List and Watch, following the sidecar's condition both ways.

Names: the empty one and `readiness` say whether decisions can be made; each service by its full name; `liveness` that
the process runs; `policies` that the last load of policies succeeded; `evidence` that records reach the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from grpc_health.v1 import health_pb2 as pb

from pdp.doors.call import Call
from pdp.doors.errors import NotFoundError

SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class HealthHandlers:
    """The methods of the health service, and the board they read."""

    def __init__(self, names: Mapping[str, bool]) -> None:
        """Start with these names and whether each serves."""
        self._serves = dict(names)
        self._changed = asyncio.Event()
        self._closing = False

    def set(self, names: Mapping[str, bool]) -> None:
        """Post whether each name serves; watchers hear of changes."""
        if any(self._serves.get(name) != serves for name, serves in names.items()):
            self._serves.update(names)
            self._wake()

    def close(self) -> None:
        """Say NOT_SERVING for every name, and end the watches."""
        self._closing = True
        self._serves = dict.fromkeys(self._serves, False)
        self._wake()

    async def check(self, message: pb.HealthCheckRequest, _: Call) -> pb.HealthCheckResponse:
        """Return one name's status."""
        if message.service not in self._serves:
            text = f"service `{message.service}` is not known"
            raise NotFoundError(text)
        return pb.HealthCheckResponse(status=self._status(message.service))

    async def list(self, _message: pb.HealthListRequest, _: Call) -> pb.HealthListResponse:
        """Return every name's status."""
        statuses = {name: pb.HealthCheckResponse(status=self._status(name)) for name in self._serves}
        return pb.HealthListResponse(statuses=statuses)

    async def watch(self, message: pb.HealthCheckRequest, _: Call) -> AsyncIterator[pb.HealthCheckResponse]:
        """Yield one name's status now and at each change; an unknown name may become known."""
        last = None
        while True:
            changed, closing = self._changed, self._closing
            status = self._status(message.service)
            if status != last:
                last = status
                yield pb.HealthCheckResponse(status=status)
            if closing:
                return
            await changed.wait()

    def _status(self, name: str) -> pb.HealthCheckResponse.ServingStatus:
        if name not in self._serves:
            return UNKNOWN
        return SERVING if self._serves[name] else NOT_SERVING

    def _wake(self) -> None:
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()
