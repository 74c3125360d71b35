"""The Python client's evidence against a real sidecar: blocking and asyncio are held to one contract."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sessionpdp import (
    AsyncEvidence,
    Evidence,
    FactNotFound,
    GovernanceUnavailable,
    InvalidCommand,
    NotPermitted,
    Record,
)

from tests.integration.serving import PATIENCE_S, Running, check, large, token_of, until


class AwaitedEvidence:
    """An `Evidence` with the face of `AsyncEvidence`, called on threads, since the sidecar has this loop."""

    def __init__(self, target: str, **options: Any) -> None:
        self._evidence = Evidence(target, **options)

    async def aclose(self) -> None:
        """Close the connection."""
        self._evidence.close()

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(self._finished, name, *args, **kwargs)

        return call

    def _finished(self, name: str, *args: Any, **kwargs: Any) -> Any:
        answer = getattr(self._evidence, name)(*args, **kwargs)
        return list(answer) if inspect.isgenerator(answer) else answer


@pytest.fixture(params=[AwaitedEvidence, AsyncEvidence])
async def evidence(request: pytest.FixtureRequest, server: Running) -> AsyncIterator[Any]:
    """Return each client in turn, as an auditor."""
    target = server.sidecar.settings.administration_address()
    client = request.param(target, token=token_of("auditor"), timeout=PATIENCE_S)
    yield client
    await client.aclose()


async def listed(evidence: Any, **conditions: Any) -> list[Record]:
    """Return all records that meet the conditions."""
    answer = evidence.records(**conditions)
    return await answer if inspect.isawaitable(answer) else [record async for record in answer]


async def granted_and_denied(server: Running) -> tuple[str, str]:
    """Return the ids of an allow and a deny that are on disk."""
    allow = (await server.decisions.Check(check(), timeout=PATIENCE_S)).decision.decision_id
    deny = (await server.decisions.Check(check(session_id="s-9"), timeout=PATIENCE_S)).decision.decision_id
    await until(lambda: server.sidecar.evidence.status().held == 0)
    return allow, deny


async def test_records_are_found_by_condition(evidence: Any, server: Running) -> None:
    """Every word is that of the contract, in small letters."""
    allow, deny = await granted_and_denied(server)
    now, day = datetime.now(UTC), timedelta(days=1)
    found = await listed(evidence, ticket="CHG-1", outcome="allow", kind="decision", since=now - day, until=now + day)
    assert [(one.decision_id, one.kind, one.outcome, one.code) for one in found] == [
        (allow, "decision", "allow", "GRANTED")
    ]
    assert [one.decision_id for one in await listed(evidence, code="SESSION_UNKNOWN")] == [deny]
    assert await listed(evidence, until=now - day) == []


async def test_pages_follow_each_other_while_one_iterates(evidence: Any, server: Running) -> None:
    """Newest first, or in order."""
    allow, deny = await granted_and_denied(server)
    newest = await listed(evidence, kind="decision", page_size=1)
    oldest = await listed(evidence, kind="decision", page_size=1, oldest_first=True)
    assert ([one.decision_id for one in newest], newest[::-1]) == ([deny, allow], oldest)


async def test_a_record_is_told_by_decision_or_sequence(evidence: Any, server: Running) -> None:
    """With its line, whose hash can be checked, and what the line says."""
    allow, _ = await granted_and_denied(server)
    record = await evidence.record(allow)
    assert await evidence.record(record.sequence) == record
    body = record.line.encode()[: -len(',"hash":""}') - 64] + b"}"
    assert hashlib.sha256(body).hexdigest() == record.members["hash"]
    assert (record.owner, record.members["request"]["subject"]) == ("team-a", "worker")
    assert abs(datetime.now(UTC) - record.time) < timedelta(days=1)


async def test_a_record_of_a_kind_without_outcome_has_none(evidence: Any, server: Running) -> None:
    """Nor a decision's id."""
    (change,) = await listed(evidence, kind="change")
    assert (change.outcome, change.decision_id, change.revision) == ("", "", 1)


@pytest.mark.parametrize("wanted", [10**6, "none"])
async def test_what_is_not_on_record_is_not_found(evidence: Any, wanted: int | str) -> None:
    """Whichever way it is named."""
    with pytest.raises(FactNotFound, match="is not in the journal"):
        await evidence.record(wanted)


async def test_a_decision_is_replayed(evidence: Any, server: Running) -> None:
    """With the answer on record; another only where it differs."""
    allow, _ = await granted_and_denied(server)
    replay = await evidence.replay(allow)
    assert (replay.result, replay.agrees, replay.differs_in, replay.why) == ("agrees", True, (), "")
    assert (replay.recorded["outcome"], replay.computed) == ("allow", {})
    assert await evidence.replay((await evidence.record(allow)).sequence) == replay
    with pytest.raises(FactNotFound):
        await evidence.replay("none")
    (change,) = await listed(evidence, kind="change")
    with pytest.raises(InvalidCommand, match="no decision, but of kind `change`"):
        await evidence.replay(change.sequence)


async def test_a_journal_is_verified(evidence: Any, server: Running) -> None:
    """And one that is altered names the place."""
    await granted_and_denied(server)
    good = await evidence.verify()
    assert (good.intact, good.broken, good.records >= 3, len(good.key)) == (True, (), True, 64)
    segment = next(server.sidecar.settings.journal_dir.glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"worker"', b'"warker"', 1))
    bad = await evidence.verify()
    assert (bad.intact, bad.broken[0].segment) == (False, segment.name)


async def test_a_damaged_journal_is_told_from_a_busy_one(evidence: Any, server: Running) -> None:
    """By what names the place."""
    await granted_and_denied(server)
    segment = next(server.sidecar.settings.journal_dir.glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"seq":2,', b'"seq"\x1a2,'))
    with pytest.raises(GovernanceUnavailable, match="`pdp journal verify` names every broken place"):
        await listed(evidence)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"kind": "diary"}, "must be one of decision, change, administration, lapse, lifecycle, got `diary`"),
        ({"outcome": "perhaps"}, "must be one of allow, deny, permitted, not_permitted, refused, got `perhaps`"),
        ({"since": datetime(2026, 1, 1)}, "`since` must be a datetime with a time zone"),  # noqa: DTZ001  # the fault
    ],
)
async def test_a_condition_that_is_none_is_refused_by_name(
    evidence: Any, conditions: dict[str, Any], message: str
) -> None:
    """Before anything is asked."""
    with pytest.raises(InvalidCommand, match=message):
        await listed(evidence, **conditions)


@pytest.mark.parametrize("name", ["session", "ticket", "code", "outcome", "decision_id"])
async def test_an_empty_condition_is_refused_by_name(evidence: Any, name: str) -> None:
    """It would ask for everything; None asks for nothing."""
    with pytest.raises(ValueError, match=f"`{name}` must not be empty"):
        await listed(evidence, **{name: ""})
    assert await listed(evidence, kind="change") == await listed(evidence, **({name: None} | {"kind": "change"}))


@pytest.mark.parametrize("question", ["record", "replay"])
async def test_an_empty_name_is_refused(evidence: Any, question: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match="`wanted` must not be empty"):
        await getattr(evidence, question)("")


@pytest.mark.parametrize("client", [AwaitedEvidence, AsyncEvidence])
async def test_records_are_not_for_every_role(client: Any, server: Running) -> None:
    """The roles that may are named."""
    evidence = client(server.sidecar.settings.administration_address(), token=token_of("newcomer"), timeout=PATIENCE_S)
    with pytest.raises(NotPermitted) as refused:
        await listed(evidence)
    await evidence.aclose()
    assert "auditor" in refused.value.roles


async def test_a_record_that_no_page_holds_is_told_whole(evidence: Any, server: Running) -> None:
    """It is fetched by itself, whatever the size of its line."""
    await server.apply(*large())
    first, second = await listed(evidence, kind="change", oldest_first=True)
    assert (len(first.line) < 4 * 1024 * 1024 < len(second.line), second.members["revision"]) == (True, 2)
