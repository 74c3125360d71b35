"""Facts and changes as JSON: exact, strict, and sharing what is equal."""

from __future__ import annotations

import pytest
from msgspec import Raw

from pdp.core.model import Approval, Consent, Drop, FactKind, Instant, Put, Session, Signal, Task
from pdp.core.scope import ActionScope, ResourceScope
from pdp.state.codec import Codec, CodecError


def session(id_: str) -> Session:
    """Return one of many sessions that differ in little."""
    return Session(
        id=id_,
        identity="spiffe://example.org/a",
        task="t-1",
        entitlement="e-1",
        actions=ActionScope(["rows.*"]),
        resources=ResourceScope(["database:prod/**"]),
        not_before=Instant(1),
        expires_at=Instant(2),
    )


def test_changes_come_back_in_order() -> None:
    """Puts of any kind, and drops."""
    codec = Codec()
    changes = (Put(Task(id="t")), Drop(FactKind.SESSION, "s"), Put(session("s")))
    assert codec.decode_changes(codec.encode_changes(changes)) == changes


def test_the_form_is_plain_json() -> None:
    """Readable by other tools and other languages."""
    assert (
        Codec().encode_changes([Drop(FactKind.TASK, "é"), Put(Task(id="t", revision=3))])
        == (
            '[{"do":"drop","kind":"task","id":"é"},{"do":"put","kind":"task","fact":'
            '{"id":"t","revision":3,"traceparent":"","owner":"","parent":"","state":"open"}}]'
        ).encode()
    )


def test_equal_scopes_and_identifiers_are_one_object() -> None:
    """A million sessions name few of them."""
    codec = Codec()
    first, second = (codec.decode_fact(FactKind.SESSION, codec.encode_fact(session(id_))) for id_ in ("a", "b"))
    assert isinstance(first, Session)
    assert isinstance(second, Session)
    shared = ("identity", "task", "entitlement", "actions", "resources", "constraints")
    assert [name for name in shared if getattr(first, name) is not getattr(second, name)] == []


def test_the_people_who_consent_are_one_object_too() -> None:
    """The few who approve do so again and again."""
    codec = Codec()
    consents = (Consent(by="change-manager", at=Instant(1), groups=("release",)),)
    data = codec.encode_fact(
        Approval(
            id="a",
            requested_by="on-call-engineer",
            actions=ActionScope(["rows.*"]),
            resources=ResourceScope(["database:prod/**"]),
            not_before=Instant(1),
            expires_at=Instant(2),
            consents=consents,
        )
    )
    first, second = (codec.decode_fact(FactKind.APPROVAL, data) for _ in range(2))
    assert isinstance(first, Approval)
    assert isinstance(second, Approval)
    assert (first.consents, first.consents[0].by is second.consents[0].by) == (consents, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b'{"id": 1}',
        b'{"id": "t", "state": "ajar"}',
        b'{"id": "t", "unknown": 1}',
        b'{"id": "t"} {}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_is_no_fact_is_an_error(data: bytes) -> None:
    """Never a half-read fact; an unknown field might be what forbids."""
    with pytest.raises(CodecError, match="not a task"):
        Codec().decode_fact(FactKind.TASK, data)


@pytest.mark.parametrize("patterns", [b'"rows.read"', b'["rows.re*"]', b"[1]", b"null"])
def test_what_is_no_scope_is_an_error(patterns: bytes) -> None:
    """Also inside of a fact that is right otherwise."""
    codec = Codec()
    data = codec.encode_fact(session("s")).replace(b'["rows.*"]', patterns)
    with pytest.raises(CodecError, match="not a session"):
        codec.decode_fact(FactKind.SESSION, Raw(data))


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'[{"do":"put","kind":"task"}]',
        b'[{"do":"forget","kind":"task","id":"t"}]',
        b'[{"do":"drop","kind":"tusk","id":"t"}]',
        b'[{"do":"put","kind":"task","fact":{}}]',
        b'[{"do":"drop","kind":"task","id":"t","more":1}]',
    ],
)
def test_what_is_no_list_of_changes_is_an_error(data: bytes) -> None:
    """An unknown verb is not skipped."""
    with pytest.raises(CodecError):
        Codec().decode_changes(data)


def test_what_json_cannot_hold_is_not_written() -> None:
    """A lone surrogate, say."""
    with pytest.raises(CodecError, match="cannot be written as JSON"):
        Codec().encode_fact(Signal(id="x", about="a", name="n", value="\ud800", expires_at=Instant(1)))
