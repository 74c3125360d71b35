"""What has ended stays ended."""

from __future__ import annotations

import grpc
import pytest
from msgspec.structs import replace
from sessionpdp.v1 import governance_pb2

from pdp.core.model import (
    AnyFact,
    Identity,
    IdentityKind,
    IdentityState,
    SessionState,
    Task,
    TaskState,
)
from pdp.doors.facts_wire import message_of
from pdp.governance.finality import revived
from tests.integration.serving import PATIENCE_S, Running, check, refusal
from tests.unit.core_story import session

TASK, SESSION = Task(id="t"), session(0)
IDENTITY = Identity(id="i", kind=IdentityKind.WORKLOAD, owner="team")


@pytest.mark.parametrize(
    ("ended", "again"),
    [
        (replace(TASK, state=TaskState.COMPLETED), TASK),
        (replace(TASK, state=TaskState.CANCELLED), replace(TASK, state=TaskState.COMPLETED)),
        (replace(SESSION, state=SessionState.CLOSED), SESSION),
    ],
)
def test_a_fact_does_not_leave_a_final_state(ended: AnyFact, again: AnyFact) -> None:
    """Importing yesterday's file again revives nothing."""
    assert "which is final" in revived(again, ended)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, TASK),
        (TASK, replace(TASK, owner="other")),
        (replace(TASK, state=TaskState.COMPLETED), replace(TASK, state=TaskState.COMPLETED, owner="other")),
        (replace(IDENTITY, state=IdentityState.SUSPENDED), IDENTITY),
    ],
)
def test_other_changes_are_free(before: AnyFact | None, after: AnyFact) -> None:
    """New facts, other fields, and states that are not final."""
    assert revived(after, before) == ""


@pytest.mark.parametrize("dry_run", [True, False])
async def test_importing_a_file_again_revives_no_task(server: Running, *, dry_run: bool) -> None:
    """The whole import is refused, and says which fact has ended."""
    await server.governance.CompleteTask(governance_pb2.CompleteTaskRequest(task_id="job"), timeout=PATIENCE_S)
    facts = [message_of(Task(id="other")), message_of(Task(id="job"))]
    request = governance_pb2.ApplyFactsRequest(facts=facts, dry_run=dry_run)

    error = await refusal(server.governance.ApplyFacts(request, timeout=PATIENCE_S))

    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "task `job` is completed, which is final" in error.message
    assert await server.check(check()) == "TASK_ENDED"
