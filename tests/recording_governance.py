"""An administration door that carries out nothing, records what it is asked, and fails as a test tells it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from sessionpdp.v1 import facts_pb2, governance_pb2, governance_pb2_grpc

METHODS = tuple(governance_pb2.DESCRIPTOR.services_by_name["GovernanceService"].methods_by_name)
OPENED_AT_S = 1_900_000_000
"""When every session begins."""


class Asked(NamedTuple):
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    seconds_left: float


class RecordingGovernance(governance_pb2_grpc.GovernanceServiceServicer):
    """Answers each command by a new revision and the fact that it names."""

    def __init__(self, folder: Path) -> None:
        self.target = f"unix:{folder / 'admin.sock'}"
        self.asked: list[Asked] = []
        self._answers: dict[str, Callable[[], Message]] = {}
        self.arrived = threading.Condition()
        self._revision = 0
        self._done: dict[str, Message] = {}
        self._failures: dict[str, list[status_pb2.Status]] = {}
        self._losses = 0
        self._held = ""
        self._stopping = threading.Event()
        self._server: grpc.Server | None = None

    def start(self) -> Self:
        """Listen."""
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        governance_pb2_grpc.add_GovernanceServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.target)
        self._server.start()
        return self

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._stopping.set()
            self._server.stop(0).wait(10)

    def fail(self, method: str, status: grpc.StatusCode, message: str, *details: Message, times: int = 1) -> None:
        """Fail the next calls of a method, having done nothing."""
        failure = status_pb2.Status(code=status.value[0], message=message)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            failure.details.append(packed)
        self._failures.setdefault(method, []).extend([failure] * times)

    def refuse(self, method: str, rule: str, message: str, remedy: str, about: str) -> None:
        """Refuse the next call of a method, as the sidecar does."""
        info = error_details_pb2.ErrorInfo(
            reason="CHANGE_REFUSED", domain="sessionpdp", metadata={"rule": rule, "remedy": remedy, "about": about}
        )
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=rule, subject=about, description=f"{message}; {remedy}"
        )
        failure = error_details_pb2.PreconditionFailure(violations=[violation])
        self.fail(method, grpc.StatusCode.FAILED_PRECONDITION, f"{message}; {remedy}", info, failure)

    def lose_answer(self) -> None:
        """Carry out the next command, and have the connection break before its answer arrives."""
        self._losses += 1

    def answer_with(self, method: str, answer: Callable[[], Message]) -> None:
        """Answer the calls of a method by what the callable returns."""
        self._answers[method] = answer

    def hold(self, method: str) -> None:
        """Take the next call of a method, and do not answer it before the end."""
        self._held = method

    def wait_for(self, method: str) -> None:
        """Wait until a method has been called."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: method in self.methods(), timeout=20)

    def methods(self) -> list[str]:
        """Return the names of all calls, in order."""
        return [asked.method for asked in self.asked]

    def reasons(self, method: str) -> list[str]:
        """Return the reasons given for all calls of a method, in order."""
        return [asked.request.reason for asked in self.asked if asked.method == method]

    def answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Message:
        """Record a call, and answer it."""
        metadata = dict(context.invocation_metadata())
        with self.arrived:
            self.asked.append(Asked(method, request, metadata, context.time_remaining()))
            self.arrived.notify_all()
        if method == self._held:
            self._held = ""
            self._stopping.wait(60)
        if self._failures.get(method):
            context.abort_with_status(rpc_status.to_status(self._failures[method].pop(0)))
        response = self._answers[method]() if method in self._answers else self._carried_out(method, request)
        if self._losses:
            self._losses -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        return response

    def _carried_out(self, method: str, request: Any) -> Message:
        response: Any = getattr(governance_pb2, f"{method}Response")()
        if "already_done" not in response.DESCRIPTOR.fields_by_name:
            return response  # a query
        if done := self._done.get(request.idempotency_key):
            response.CopyFrom(done)
            response.already_done = True
            return response
        self._revision += not request.dry_run
        response.revision = 0 if request.dry_run else self._revision
        if method.endswith("Session"):
            response.facts.add(session=_session(request))
        elif method == "OpenTask":
            response.facts.add(task=facts_pb2.Task(id=request.id or "t-made"))
        if request.idempotency_key:
            self._done[request.idempotency_key] = response
        return response


@contextmanager
def recording() -> Iterator[RecordingGovernance]:
    """Run a door on a Unix socket of its own."""
    with tempfile.TemporaryDirectory(prefix="pdp") as folder:
        server = RecordingGovernance(Path(folder)).start()
        try:
            yield server
        finally:
            server.stop()


def _session(request: Any) -> facts_pb2.Session:
    session = facts_pb2.Session(id=getattr(request, "id", "") or getattr(request, "session_id", ""))
    ttl = request.ttl.seconds if "ttl" in request.DESCRIPTOR.fields_by_name else 0
    session.expires_at.seconds = OPENED_AT_S + (ttl or 3600)
    return session


def _method(name: str) -> Callable[[RecordingGovernance, Any, grpc.ServicerContext], Message]:
    return lambda service, request, context: service.answer(name, request, context)


for _name in METHODS:
    setattr(RecordingGovernance, _name, _method(_name))
