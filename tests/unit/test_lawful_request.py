"""What a request must look like before anything is decided about it."""

from __future__ import annotations

import pytest

from pdp.core.lawful_request import faults_of_request
from pdp.core.model import Credential


def fields(**changed: str) -> list[str]:
    """Return the fields at fault of a request that is lawful but for what is changed."""
    faults = faults_of_request(
        subject=changed.get("subject", "spiffe://example.org/a"),
        action=changed.get("action", "rows.read"),
        resource_type=changed.get("resource_type", "database"),
        resource_id=changed.get("resource_id", "prod/users"),
        subject_type=changed.get("subject_type", ""),
        session=changed.get("session", ""),
        task=changed.get("task", ""),
        request_id=changed.get("request_id", ""),
    )
    return [fault.field for fault in faults]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"subject": "spiffe://exämple.org/ä b"},
        {"subject": "a" * 2048},
        {"action": "read"},
        {"resource_id": "/etc/passwd"},
        {"resource_id": "a*b/..c/..."},
        {"resource_id": "https://example.org/x?y=1"},
        {"session": "s-1", "task": "t-1", "request_id": "r-1", "subject_type": "workload"},
    ],
)
def test_what_is_meant_is_let_through(changed: dict[str, str]) -> None:
    """Identifiers are anything that people use."""
    assert fields(**changed) == []


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"subject": ""}, "subject.id"),
        ({"subject": "a\x00"}, "subject.id"),
        ({"subject": "a\ud800"}, "subject.id"),
        ({"subject": "a" * 2049}, "subject.id"),
        ({"subject": "ä" * 1025}, "subject.id"),
        ({"subject": "spiffe://example.org/**"}, "subject.id"),
        ({"subject_type": "a\n"}, "subject.type"),
        ({"action": ""}, "action.name"),
        ({"action": ".read"}, "action.name"),
        ({"action": "rows..read"}, "action.name"),
        ({"action": "rows.*"}, "action.name"),
        ({"resource_type": ""}, "resource.type"),
        ({"resource_type": "a:b"}, "resource.type"),
        ({"resource_type": "a/b"}, "resource.type"),
        ({"resource_type": "*"}, "resource.type"),
        ({"resource_id": ""}, "resource.id"),
        ({"resource_id": "prod/*"}, "resource.id"),
        ({"resource_id": "**"}, "resource.id"),
        ({"resource_id": "prod/../hr"}, "resource.id"),
        ({"resource_id": "prod/./users"}, "resource.id"),
        ({"resource_id": "prod\x7f"}, "resource.id"),
        ({"session": "s\x1f"}, "session_id"),
        ({"task": "t" * 2049}, "task_id"),
        ({"request_id": "\x85"}, "request_id"),
    ],
)
def test_what_cannot_be_meant_is_refused(changed: dict[str, str], field: str) -> None:
    """With the field of the wire contract."""
    assert fields(**changed) == [field]


@pytest.mark.parametrize("field", ["id", "issuer", "subject"])
def test_a_credential_is_looked_at_too(field: str) -> None:
    """What of it is given must be lawful."""
    faults = faults_of_request(
        subject="a",
        action="b",
        resource_type="c",
        resource_id="d",
        credential=Credential(**{field: "x\x00"}),  # type: ignore[arg-type]  # a text field by each name
    )
    assert [fault.field for fault in faults] == [f"credential.{field}"]


def test_all_faults_come_at_once_in_the_order_of_the_contract() -> None:
    """A caller mends a request in one go."""
    found = fields(subject="", action="", resource_type="", resource_id="", session="\x00")
    assert found == ["subject.id", "action.name", "resource.type", "resource.id", "session_id"]


def test_a_message_never_carries_control_characters() -> None:
    """It ends up in logs and terminals."""
    faults = faults_of_request(subject="a\x1b[31m*", action="b", resource_type="c", resource_id="d\x1b/*")
    assert not any("\x1b" in fault.message for fault in faults)
