"""A policy decision point for governed sessions: asked at call time, answers from facts in memory."""

import os

# gRPC looks at this as it is imported. Its newer listener hands each call through more threads: a check on an idle
# machine takes 0.1 ms longer with it, and half as much again of the processor beside the event loop's thread.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
