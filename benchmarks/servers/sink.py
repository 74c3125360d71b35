"""A collector that takes every export of spans and metrics over OTLP/gRPC, counts those of spans, and drops them."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import grpc
import uvloop


class Counting:
    """Answers exports."""

    def __init__(self) -> None:
        self.spans = 0

    async def take_spans(self, _request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        """Count one export of spans; an empty answer is success."""
        self.spans += 1
        return b""

    async def take_metrics(self, _request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        """Drop one export of metrics."""
        return b""

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the two services of a collector."""
        collector = "opentelemetry.proto.collector"
        return (
            grpc.method_handlers_generic_handler(
                f"{collector}.trace.v1.TraceService", {"Export": grpc.unary_unary_rpc_method_handler(self.take_spans)}
            ),
            grpc.method_handlers_generic_handler(
                f"{collector}.metrics.v1.MetricsService",
                {"Export": grpc.unary_unary_rpc_method_handler(self.take_metrics)},
            ),
        )


async def serve(ready: Path, counts: Path) -> None:
    """Serve on any free port of loopback until told to stop; then write down the count."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    counting = Counting()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(counting.handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ready.write_text(str(port), encoding="ascii")
    await stopping.wait()
    await server.stop(0.2)
    counts.write_text(str(counting.spans), encoding="ascii")


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
