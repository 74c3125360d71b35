"""A decision service that decides nothing: the floor under every figure."""

# ruff: noqa: INP001, T201, N802, D102, ARG002 - a program; gRPC names the methods of services

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import grpc
from sessionpdp.v1 import decision_pb2, decision_pb2_grpc, reasons_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALLOW = decision_pb2.Decision(
    outcome=decision_pb2.OUTCOME_ALLOW,
    reasons=[
        decision_pb2.Reason(
            code=reasons_pb2.REASON_CODE_GRANTED,
            message="session `s-1` grants it",
            subject_of_reason="session:s-1",
        )
    ],
    decision_id="0190c8a7-5d3e-7c4e-9b9e-0a1b2c3d4e5f",
    owner="team-a",
    session_id="s-1",
    task_id="t-1",
    revision=7,
)


class Echo(decision_pb2_grpc.DecisionServiceServicer):
    """Allows everything."""

    async def Check(self, request: decision_pb2.CheckRequest, context: object) -> decision_pb2.CheckResponse:
        return decision_pb2.CheckResponse(decision=ALLOW)

    async def CheckStream(
        self,
        request_iterator: AsyncIterator[decision_pb2.CheckStreamRequest],
        context: object,
    ) -> AsyncIterator[decision_pb2.CheckStreamResponse]:
        async for message in request_iterator:
            decisions = [ALLOW for _ in message.checks]
            yield decision_pb2.CheckStreamResponse(correlation_id=message.correlation_id, decisions=decisions)


async def serve(target: str) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(Echo(), server)  # type: ignore[abstract] # two methods are enough
    server.add_insecure_port(target)
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
