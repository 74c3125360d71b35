"""Doors that an attacker or a clumsy operator has tried, and that are shut."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from google.protobuf import struct_pb2
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import reasons_pb2

from pdp.app import Sidecar
from pdp.clock import ManualClock
from pdp.core.decision import Deny, Found
from pdp.core.model import Instant, Put, Task
from pdp.core.policy.cel import EvaluationError, Program, activate
from pdp.core.policy.model import Policy
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import Readiness
from pdp.doors.call import Call
from pdp.doors.decision_point import DecisionPoint
from pdp.doors.errors import InvalidRequestError
from pdp.doors.watching import WatchHub
from pdp.doors.wire import MAX_BYTES, fill_decision, request_of
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.trace import Ids
from pdp.settings import Administration, Listener, Settings, Tls, check
from pdp.state.document import DocumentError
from pdp.state.sqlite import SqliteStore
from pdp.state.store import Origin, StoreUnusableError
from tests.unit.core_story import NOW, REQUEST, chain, loaded


class Ready:
    """A state that is always ready, and applied."""

    def check_readiness(self) -> Readiness:
        """Say so."""
        return Readiness.READY

    async def applied(self, revision: int, timeout_s: float) -> bool:
        """Say so."""
        return True


async def test_a_watch_does_not_allow_without_the_evidence_its_policy_asks_for() -> None:
    """Neither does Explain: a connection must not be held open on a record that is not there."""
    durable = Policy(name="durable", actions=("**",), resources=("**",), durable=True)
    evidence, clock = MemoryEvidence(), ManualClock(NOW)
    point = DecisionPoint(loaded(chain(0), durable), Ready(), clock, evidence, Ids())
    evidence.fail()

    explained, _ = await point.explain(REQUEST, Call("Explain"))
    watched = await anext(WatchHub(point, clock, 1).watch(REQUEST, Call("Watch")))

    for answer in (explained, watched):
        assert isinstance(answer.decision, Deny)
        assert answer.decision.code is Code.EVIDENCE_UNAVAILABLE


def test_who_may_not_ask_learns_that_alone() -> None:
    """Not whose the subject is, nor its session or ticket."""
    story = {type(fact).__name__: fact for fact in chain(0)}
    reasons = (Denial(Code.CALLER_NOT_PERMITTED, "may not ask"), Denial(Code.SESSION_CLOSED, "is closed"))
    found = Found(identity=story["Identity"], session=story["Session"])  # type: ignore[arg-type]  # by their names
    message = pb.Decision()

    fill_decision(message, Deny(reasons, found, (), 1, "v", NOW, None, durable=False), "id", "trace")

    assert [reason.code for reason in message.reasons] == [reasons_pb2.REASON_CODE_CALLER_NOT_PERMITTED]
    assert (message.identity_id, message.owner, message.session_id, message.task_id) == ("", "", "", "")


def test_an_address_mapped_into_ipv6_is_the_address_it_maps() -> None:
    """So that no rule about a network is evaded by another spelling."""
    rule = Program('in_cidr(context.ip, "10.66.0.0/16")')
    assert rule.holds(activate({"context": {"ip": "::ffff:10.66.0.1"}}))


def test_a_condition_that_exceeds_the_budget_of_cel_has_no_value() -> None:
    """It is an error of the condition, not of the sidecar."""
    rule = Program("context.l.exists(a, context.l.exists(b, context.l.exists(c, a + b + c < 0.0)))")
    with pytest.raises(EvaluationError):
        rule.holds(activate({"context": {"l": [1.0] * 300}}))


def test_a_context_is_bounded_in_bytes() -> None:
    """It is held in memory until its record is on disk."""
    message = pb.CheckRequest(
        subject=pb.Subject(id="s"), action=pb.Action(name="a"), resource=pb.Resource(type="t", id="r")
    )
    for number in range(MAX_BYTES // 10_000 + 1):
        message.context.fields[str(number)].CopyFrom(struct_pb2.Value(string_value="x" * 10_000))
    with pytest.raises(InvalidRequestError, match="`context` has"):
        request_of(message, None)


@pytest.mark.parametrize(("type_", "id_"), [("database:prod", "users"), ("database:prod/users", ""), ("database", "")])
def test_a_resource_is_a_type_and_an_id_and_not_some_other_split(type_: str, id_: str) -> None:
    """Both halves are judged as they came."""
    message = pb.CheckRequest(
        subject=pb.Subject(id="s"), action=pb.Action(name="a"), resource=pb.Resource(type=type_, id=id_)
    )
    with pytest.raises(InvalidRequestError):
        request_of(message, None)


async def test_a_database_older_than_the_journal_is_refused() -> None:
    """A copy put back has lost revocations; nobody is let in by it unawares."""
    origin = Origin("operator", "because", "", Instant(5))
    with tempfile.TemporaryDirectory(prefix="p") as name:
        settings, copy = Settings(data_dir=name), Path(name) / "copy.db"
        for task in ("t-1", "t-2"):
            store = await SqliteStore.open(settings.database)
            await store.commit([Put(Task(id=task))], origin)
            await store.close()
            if not copy.exists():
                shutil.copy(settings.database, copy)
        sidecar = Sidecar(settings)
        await sidecar.start()
        await sidecar.stop()
        shutil.copy(copy, settings.database)

        sidecar = Sidecar(settings)
        with pytest.raises(StoreUnusableError, match="older than the journal"):
            await sidecar.start()
        await sidecar.stop()


def test_callers_and_administrators_are_not_certified_by_one_authority(tmp_path: Path) -> None:
    """Or every workload could administer."""
    for name in ("c", "k", "ca"):
        (tmp_path / name).write_text("")
    tls = Tls(certificate=str(tmp_path / "c"), key=str(tmp_path / "k"), client_ca=str(tmp_path / "ca"))
    settings = Settings(
        decisions=Listener(address="127.0.0.1:1", tls=tls),
        administration=Administration(address="127.0.0.1:2", tls=tls),
    )
    with pytest.raises(DocumentError, match="must not be that of `decisions`"):
        check(settings)
