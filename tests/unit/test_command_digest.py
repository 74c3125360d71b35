"""What tells one command from another under the same idempotency key."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import Drop, FactKind, Instant, Put, Revocation, RevocationTarget, Task
from pdp.core.scope import ActionScope, ResourceScope
from pdp.governance.commands import OpenSession
from pdp.governance.digest import digest_of_changes, digest_of_command

SESSION = OpenSession(
    identity="job",
    task="t-1",
    entitlement="e-1",
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:prod/**"]),
    constraints={"region": ["eu"], "zone": [{"a": 1, "b": 2}]},
)


def test_equal_commands_have_equal_digests() -> None:
    """In whatever order a message had the members of its maps."""
    turned = replace(SESSION, constraints={"zone": [{"b": 2, "a": 1}], "region": ["eu"]})
    assert digest_of_command("OpenSession", turned) == digest_of_command("OpenSession", SESSION)


@pytest.mark.parametrize(
    "other",
    [
        replace(SESSION, id="s-1"),
        replace(SESSION, actions=ActionScope(["rows.read"])),
        replace(SESSION, constraints={"region": ["us"]}),
        replace(SESSION, not_before=Instant(253_402_300_799_999_999_999)),
        replace(SESSION, max_uses=1),
    ],
)
def test_other_commands_have_other_digests(other: OpenSession) -> None:
    """Whichever field differs."""
    assert digest_of_command("OpenSession", other) != digest_of_command("OpenSession", SESSION)


def test_the_same_fields_sent_by_another_method_are_another_command() -> None:
    """Completing a task is not cancelling it."""
    assert digest_of_command("CompleteTask", SESSION) != digest_of_command("CancelTask", SESSION)


def test_changes_are_told_apart_by_kind_fact_and_order() -> None:
    """As they would be written."""
    revocation = Revocation(id="x", target=RevocationTarget.TASK, target_id="t", effective_at=Instant(1), reason="r")
    changes = [
        [Put(Task(id="x"))],
        [Put(Task(id="x", owner="o"))],
        [Put(revocation)],
        [Drop(FactKind.TASK, "x")],
        [Drop(FactKind.SESSION, "x")],
        [Put(Task(id="x")), Drop(FactKind.TASK, "x")],
        [Drop(FactKind.TASK, "x"), Put(Task(id="x"))],
    ]
    assert len({digest_of_changes("ApplyFacts", one) for one in changes}) == len(changes)
