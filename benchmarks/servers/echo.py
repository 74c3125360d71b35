"""The floor under every call: the same stack as the sidecar, with a handler that decides nothing.

`grpc.aio` on uvloop with the sidecar's own listening options; each check is decoded and answered by the same response,
which was taken from the sidecar, so that the sizes are those of real answers.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import grpc
import uvloop
from sessionpdp.v1 import decision_pb2 as pb

from pdp.doors.listening import listen
from pdp.settings import Limits

Context: TypeAlias = grpc.aio.ServicerContext[pb.CheckStreamRequest, pb.CheckStreamResponse]


def handlers(answer: pb.CheckResponse) -> grpc.GenericRpcHandler:
    """Return the methods of the echo."""

    async def check(_request: pb.CheckRequest, _context: object) -> pb.CheckResponse:
        return answer

    async def check_stream(_: object, context: Context) -> None:
        while isinstance(message := await context.read(), pb.CheckStreamRequest):
            decisions = [answer.decision] * len(message.checks)
            await context.write(pb.CheckStreamResponse(correlation_id=message.correlation_id, decisions=decisions))

    return grpc.method_handlers_generic_handler(
        "sessionpdp.v1.DecisionService",
        {
            "Check": grpc.unary_unary_rpc_method_handler(
                check, pb.CheckRequest.FromString, pb.CheckResponse.SerializeToString
            ),
            "CheckStream": grpc.stream_stream_rpc_method_handler(
                check_stream, pb.CheckStreamRequest.FromString, pb.CheckStreamResponse.SerializeToString
            ),
        },
    )


async def serve(answer: pb.CheckResponse, address: str, ready: Callable[[], None]) -> None:
    """Serve until told to stop."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    service = handlers(answer)
    server = await listen(address, 0o600, None, [service], Limits())
    ready()
    await stopping.wait()
    await server.stop(0.2)


if __name__ == "__main__":
    fixed = pb.CheckResponse.FromString(Path(sys.argv[1]).read_bytes())
    uvloop.run(serve(fixed, sys.argv[2], Path(sys.argv[3]).touch))
