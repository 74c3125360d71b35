"""A collector that takes every export over OTLP/gRPC, counts those of spans and of log records, and drops them."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import uvloop


class Counting:
    """Answers exports."""

    def __init__(self) -> None:
        self.exports = {"spans": 0, "logs": 0}

    async def take_spans(self, _request: bytes, _context: object) -> bytes:
        """Count one export of spans; an empty answer is success."""
        self.exports["spans"] += 1
        return b""

    async def take_logs(self, _request: bytes, _context: object) -> bytes:
        """Count one export of log records."""
        self.exports["logs"] += 1
        return b""

    async def take_metrics(self, _request: bytes, _context: object) -> bytes:
        """Drop one export of metrics."""
        return b""

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the three services of a collector."""
        collector = "opentelemetry.proto.collector"
        return (
            grpc.method_handlers_generic_handler(
                f"{collector}.trace.v1.TraceService", {"Export": grpc.unary_unary_rpc_method_handler(self.take_spans)}
            ),
            grpc.method_handlers_generic_handler(
                f"{collector}.logs.v1.LogsService", {"Export": grpc.unary_unary_rpc_method_handler(self.take_logs)}
            ),
            grpc.method_handlers_generic_handler(
                f"{collector}.metrics.v1.MetricsService",
                {"Export": grpc.unary_unary_rpc_method_handler(self.take_metrics)},
            ),
        )


async def serve(ready: Callable[[int], object]) -> dict[str, int]:
    """Serve on any free port of loopback until told to stop; return the counts."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    counting = Counting()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(counting.handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ready(port)
    await stopping.wait()
    await server.stop(0.2)
    return counting.exports


if __name__ == "__main__":
    port_file, count_file = Path(sys.argv[1]), Path(sys.argv[2])
    exports = uvloop.run(serve(lambda port: port_file.write_text(str(port), encoding="ascii")))
    count_file.write_text(json.dumps(exports), encoding="ascii")
