"""One check before every administrative method, one record behind it, whatever goes wrong."""

from __future__ import annotations

import asyncio

import pytest
from sessionpdp.v1 import governance_pb2 as pb

from pdp.doors import errors
from pdp.doors.call import Call
from pdp.doors.governing import Governed, GovernedHandler, Permit
from pdp.evidence.memory import MemoryEvidence
from pdp.evidence.record import AdministrationOutcome, AdministrationRecord
from pdp.governance.desk import CommandRefusedError, NotInForceError, UnlawfulPlanError
from pdp.governance.refusal import Refusal, Rule
from pdp.governance.roles import Principal, Role
from pdp.state import store

OPERATOR = Principal(name="security", roles=frozenset({Role.AUDITOR, Role.OPERATOR}))
PERMITTED, NOT_PERMITTED, REFUSED = AdministrationOutcome
REFUSAL = Refusal(Rule.NOT_FOUND, "task `t` is not known", "open the task", "task:t")
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class Door:
    """A method with its check, over evidence in memory."""

    def __init__(self) -> None:
        self.evidence = MemoryEvidence()
        self.permits: list[Permit] = []

    async def ask(
        self,
        answer: object,
        principal: Principal | None = OPERATOR,
        method: str = "CompleteTask",
        traceparent: str = "",
        *,
        dry_run: bool = False,
    ) -> object:
        """Call a method whose handler gives this answer, or raises it."""

        async def handle(message: pb.CompleteTaskRequest, _: Call, permit: Permit) -> object:
            self.permits.append(permit)
            if isinstance(answer, Exception):
                raise answer
            return answer

        handler: GovernedHandler = handle  # type: ignore[assignment]  # answers anything
        unary = Governed(self.evidence).method(method, pb.CompleteTaskRequest, handler)
        call = Call(method, principal=principal, traceparent=traceparent)
        return await unary.handle(pb.CompleteTaskRequest(dry_run=dry_run), call)

    @property
    def records(self) -> list[AdministrationRecord]:
        """The checks on record."""
        return [record for record in self.evidence.records if isinstance(record, AdministrationRecord)]


async def test_a_handler_gets_the_role_that_permits() -> None:
    """Of several the first that does."""
    door = Door()
    await door.ask(pb.CompleteTaskResponse(revision=1))
    assert door.permits == [Permit(OPERATOR, Role.OPERATOR)]


async def test_a_change_has_its_own_record_and_no_other() -> None:
    """It is the desk's."""
    door = Door()
    await door.ask(pb.CompleteTaskResponse(revision=1))
    assert door.records == []


@pytest.mark.parametrize(
    "answer",
    [pb.CompleteTaskResponse(), pb.CompleteTaskResponse(revision=1, already_done=True), pb.GetPrincipalResponse()],
    ids=["dry run", "done before", "query"],
)
async def test_what_changed_nothing_is_recorded_as_permitted(answer: object) -> None:
    """With who asked, in which role, and from which trace."""
    door = Door()
    await door.ask(answer, traceparent=TRACE)
    found = [(one.actor, one.role, one.method, one.outcome, one.traceparent) for one in door.records]
    assert found == [("security", "operator", "CompleteTask", PERMITTED, TRACE)]


@pytest.mark.parametrize(
    ("answer", "dry_run", "why"),
    [
        (pb.CompleteTaskResponse(), True, "dry run"),
        (pb.CompleteTaskResponse(revision=1, already_done=True), False, "already done"),
        (pb.GetPrincipalResponse(), False, ""),
    ],
)
async def test_a_command_that_changed_nothing_is_recorded_with_why(answer: object, *, dry_run: bool, why: str) -> None:
    """So that nobody takes it for a change."""
    door = Door()
    await door.ask(answer, dry_run=dry_run)
    assert [one.message for one in door.records] == [why]


async def test_a_trace_that_is_none_is_not_recorded() -> None:
    """A stranger may send anything."""
    door = Door()
    with pytest.raises(errors.UnauthenticatedError):
        await door.ask(pb.CompleteTaskResponse(), None, traceparent="nonsense")
    assert [one.traceparent for one in door.records] == [""]


async def test_a_method_that_no_table_knows_is_nobodys() -> None:
    """Whatever roles the principal has."""
    door = Door()
    everything = Principal(name="root", roles=frozenset(Role))
    with pytest.raises(errors.NotPermittedError):
        await door.ask(pb.CompleteTaskResponse(), everything, method="DropEverything")
    assert (door.permits, [one.outcome for one in door.records]) == ([], [NOT_PERMITTED])


@pytest.mark.parametrize("trouble", ["fail", "fill"])
@pytest.mark.parametrize("principal", [None, Principal(name="newcomer")], ids=["stranger", "no role"])
async def test_who_is_turned_away_stays_so_if_it_cannot_be_recorded(principal: Principal | None, trouble: str) -> None:
    """The door does not open because the disk is full."""
    door = Door()
    getattr(door.evidence, trouble)()
    with pytest.raises((errors.UnauthenticatedError, errors.NotPermittedError)):
        await door.ask(pb.CompleteTaskResponse(), principal)
    assert door.permits == []


async def test_what_is_told_must_be_recorded() -> None:
    """A query that could not be put on record is not answered."""
    door = Door()
    door.evidence.fill()
    with pytest.raises(errors.UnavailableError):
        await door.ask(pb.GetPrincipalResponse())


async def test_a_refused_command_is_on_record_with_its_rule() -> None:
    """And refused with all of them."""
    door = Door()
    with pytest.raises(errors.ChangeRefusedError) as refused:
        await door.ask(CommandRefusedError((REFUSAL,)))
    found = [(one.outcome, one.rule, one.message, one.about) for one in door.records]
    assert found == [(REFUSED, "NOT_FOUND", "task `t` is not known", "task:t")]
    assert refused.value.refusals == (REFUSAL,)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (UnlawfulPlanError([("owner", "must not be empty")]), errors.InvalidRequestError),
        (store.ConflictError(store.FactRef("task", "t"), 1, 2), errors.ConflictError),  # type: ignore[arg-type]
        (store.CommitRefusedError("unlawful"), errors.PreconditionError),
        (store.StoreUnavailableError("away"), errors.UnavailableError),
        (NotInForceError("late"), errors.UnavailableError),
        (errors.NotFoundError("none"), errors.NotFoundError),
        (RuntimeError("a fault of ours"), RuntimeError),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, Exception) else "",
)
async def test_what_goes_wrong_is_said_in_the_doors_words_and_recorded(
    behind: Exception, expected: type[Exception]
) -> None:
    """The call was permitted; nothing came of it."""
    door = Door()
    with pytest.raises(expected):
        await door.ask(behind)
    assert [one.outcome for one in door.records] == [PERMITTED]


async def test_a_caller_who_hangs_up_is_on_record_all_the_same() -> None:
    """What was begun goes on to its end."""
    evidence, begun, go_on = MemoryEvidence(), asyncio.Event(), asyncio.Event()

    async def handle(_: object, __: Call, ___: Permit) -> pb.CompleteTaskResponse:
        begun.set()
        await go_on.wait()
        raise CommandRefusedError((REFUSAL,))

    unary = Governed(evidence).method("CompleteTask", pb.CompleteTaskRequest, handle)
    call = asyncio.ensure_future(unary.handle(pb.CompleteTaskRequest(), Call("CompleteTask", principal=OPERATOR)))
    await begun.wait()
    call.cancel()
    await asyncio.wait([call])
    go_on.set()
    while not evidence.records:  # noqa: ASYNC110  # whoever makes it true knows nothing of tests
        await asyncio.sleep(0)
    assert [one.outcome for one in evidence.records if isinstance(one, AdministrationRecord)] == [REFUSED]


async def test_calls_whose_callers_hung_up_are_under_way_still() -> None:
    """Else whoever sends and hangs up would pile up messages while the disk is slow."""
    going = asyncio.Event()

    async def handle(_: pb.CompleteTaskRequest, __: Call, ___: Permit) -> pb.CompleteTaskResponse:
        await going.wait()
        return pb.CompleteTaskResponse(revision=1)

    method = Governed(MemoryEvidence(), most_calls=2).method("CompleteTask", pb.CompleteTaskRequest, handle)
    call = Call("CompleteTask", principal=OPERATOR)
    for _ in range(2):
        asking = asyncio.ensure_future(method.handle(pb.CompleteTaskRequest(), call))
        await asyncio.sleep(0.01)
        asking.cancel()
    with pytest.raises(errors.OverloadedError):
        await method.handle(pb.CompleteTaskRequest(), call)
    going.set()
    await asyncio.sleep(0.01)
    assert (await method.handle(pb.CompleteTaskRequest(), call)).revision == 1


async def test_what_a_caller_names_does_not_fill_the_journal() -> None:
    """A message has an end, however long what it names."""
    door = Door()
    with pytest.raises(errors.NotFoundError):
        await door.ask(errors.NotFoundError(f"task `{'x' * 100_000}` is not known"))
    [record] = door.records
    assert record.message.startswith("task `xxx")
    assert len(record.message) < 3_000
