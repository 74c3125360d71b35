"""Replay in EvidenceService, free of any transport: one recorded decision, computed again."""

from __future__ import annotations

import time

from msgspec import Struct
from sessionpdp.v1 import evidence_pb2 as pb

from pdp.core.lawful_request import Fault
from pdp.doors.call import Call
from pdp.doors.errors import InvalidRequestError, LateError, NotFoundError, UnavailableError
from pdp.doors.fact_handlers import query_of
from pdp.doors.governing import Permit, timeout_s
from pdp.doors.looking_up import LookUps
from pdp.evidence.replay.apart import ReplayError, ReplayLateError, Sources, Told, replay_apart
from pdp.evidence.replay.replaying import DecisionUnknownError

_RESULTS = {
    "agrees": pb.REPLAY_RESULT_AGREES,
    "differs": pb.REPLAY_RESULT_DIFFERS,
    "not_computed": pb.REPLAY_RESULT_NOT_COMPUTED,
}


class _Wanted(Struct, frozen=True):
    """The decision that ReplayDecision asks for."""

    decision_id: str = ""


class ReplayHandlers:
    """The method that computes a decision again; one at a time."""

    def __init__(self, sources: Sources) -> None:
        """Replay from what the sidecar keeps."""
        self._sources = sources
        self._replays = LookUps()

    async def replay_decision(
        self, message: pb.ReplayDecisionRequest, call: Call, _: Permit
    ) -> pb.ReplayDecisionResponse:
        """Tell whether the answer is the same again, within the call's deadline."""
        wanted = query_of(message, _Wanted)
        if not wanted.decision_id:
            raise InvalidRequestError([Fault("decision_id", "is required")])
        late_at = time.monotonic() + timeout_s(call)
        told = await self._replays.run(call, lambda: self._replay(wanted.decision_id, late_at))
        return pb.ReplayDecisionResponse(
            result=_RESULTS[told.result],
            why=told.why,
            differs_in=told.differs_in,
            recorded_json=bytes(told.recorded).decode(),
            computed_json=bytes(told.computed).decode(),
        )

    def _replay(self, decision_id: str, late_at: float) -> Told:
        try:
            return replay_apart(self._sources, decision_id, late_at - time.monotonic())
        except DecisionUnknownError as error:
            raise NotFoundError(str(error)) from error
        except ReplayLateError as error:
            raise LateError(str(error)) from error
        except ReplayError as error:
            text = f"decision `{decision_id}` cannot be computed again: {error}"
            raise UnavailableError(text) from error
