"""grpc.reflection, v1 and v1alpha: the same messages under two names; grpcio-reflection serves only the older."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as V1ALPHA
from grpc_reflection.v1alpha.reflection import aio

from pdp.doors.call import Call
from pdp.doors.grpc_door import Exchange, GrpcDoor

V1 = "grpc.reflection.v1.ServerReflection"


def handlers(door: GrpcDoor, services: Sequence[str]) -> list[grpc.GenericRpcHandler]:
    """Return the handlers that describe the named services.

    Of themselves they list only the older, for grpcio-reflection has no descriptor of the newer to describe it with.
    """
    servicer = aio.ReflectionServicer(service_names=[*services, V1ALPHA])

    async def describe(message: pb.ServerReflectionRequest, _: Call) -> pb.ServerReflectionResponse:
        async for response in servicer.ServerReflectionInfo(_only(message), None):
            return response
        return pb.ServerReflectionResponse()

    method = Exchange("ServerReflectionInfo", pb.ServerReflectionRequest, describe)
    return [door.service(name, [method]) for name in (V1, V1ALPHA)]


async def _only(message: pb.ServerReflectionRequest) -> AsyncIterator[pb.ServerReflectionRequest]:
    yield message
