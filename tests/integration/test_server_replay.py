"""Replay and what-if over the files of a real sidecar, while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import evidence_pb2 as epb
from sessionpdp.v1 import evidence_pb2_grpc

from pdp.app import Sidecar
from pdp.evidence.journal.journal_reader import read
from pdp.evidence.replay.past import Past
from pdp.evidence.replay.recorded import RecordedDecision, decision_in
from pdp.evidence.replay.replaying import Agrees, Replayed, replay
from pdp.settings import Journal, Settings
from pdp.state.policy_archive import PolicyArchive
from pdp.state.sqlite_reading import SqliteHistory
from tests.integration.conftest import Serve
from tests.integration.serving import Running, as_principal, check, refusal, running, session, until, world
from tests.integration.test_server_watch import FREEZE

PDP = [sys.executable, "-c", "from pdp.cli.main import main; main()"]
LIMIT = 'policy: limit\nmatch: {actions: ["rows.*"], resources: ["database:**"]}\nlimit: {idle_timeout: 1h}\n'


def decisions(home: Path) -> list[RecordedDecision]:
    """Return the decisions on disk."""
    return [one for one in (decision_in(entry.raw) for entry in read(home / "journal")) if one is not None]


def pdp(home: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    """Run a command that prints JSON to its end."""
    done = ran(home, *arguments)
    assert done.stdout, done.stderr
    return done.returncode, dict(json.loads(done.stdout))


def ran(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*PDP, "journal", *arguments, "--json", "--data-dir", str(home)],
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def told(server: Running, home: Path, policies: Path) -> None:
    """Drive a story: uses, a limit on them, delegation, a policy change, a revocation; wait until it is on disk."""
    await server.apply(session("s-2", max_uses=2), session("s-3", parent="s-2"))
    for id_ in ("s-1", "s-3", "s-2", "s-2", "s-3"):
        await server.check(session_id=id_)
    asked = check(session_id="s-1", context={"zone": "eu"})
    await server.decisions.Explain(pb.ExplainRequest(check=asked), timeout=10)
    version = server.sidecar.snapshot.policies.version
    (policies / "freeze.yaml").write_text(FREEZE)
    await until(lambda: server.sidecar.snapshot.policies.version != version)
    assert await server.check() == "POLICY_DENIED"
    (policies / "freeze.yaml").write_text(LIMIT)
    await until(lambda: len(server.sidecar.snapshot.policies.policies) == 2 and not frozen(server))
    await server.revoke("session", "s-1")
    assert await server.check() == "SESSION_REVOKED"
    await until(lambda: len(decisions(home)) >= 8)


def frozen(server: Running) -> bool:
    """Whether the freeze is in force."""
    return any(policy.name == "freeze" for policy in server.sidecar.snapshot.policies.policies)


def replayed(home: Path) -> list[Replayed]:
    """Compute every decision on disk again."""
    outcomes: list[Replayed] = []
    with SqliteHistory(home / "facts.db") as history:
        past = Past(history.commits)
        for entry in read(home / "journal"):
            recorded = decision_in(entry.raw)
            if recorded is not None:
                outcomes.append(replay(recorded, past, PolicyArchive(home / "policies").policies))
            past.count_line(entry.raw)
    return outcomes


async def test_decisions_of_several_lives_agree(settings: Settings, home: Path) -> None:
    """Uses go on where the last life left them, and so do they on replay."""
    for expected in ("GRANTED", "GRANTED", "SESSION_EXHAUSTED"):
        async with running(Sidecar(settings)) as server:
            if server.sidecar.snapshot.revision == 0:
                await server.apply(*world(), session("s-2", max_uses=2))
            assert await server.check(session_id="s-2") == expected

    assert [(type(one), one.recorded.code) for one in replayed(home)] == [
        (Agrees, "GRANTED"),
        (Agrees, "GRANTED"),
        (Agrees, "SESSION_EXHAUSTED"),
    ]


async def test_every_decision_of_a_real_story_agrees(serve: Serve, home: Path) -> None:
    """Beside the running sidecar, from its files alone; each policy set that decided is kept."""
    policies = home / "p"
    policies.mkdir()
    changes = {"policies": [str(policies)], "journal": Journal(segment_bytes=4096)}
    await told(await serve(changes=changes), home, policies)
    outcomes = replayed(home)

    assert [one for one in outcomes if not isinstance(one, Agrees)] == []
    codes = [one.recorded.code for one in outcomes]
    assert codes[:5] == ["GRANTED", "GRANTED", "GRANTED", "SESSION_EXHAUSTED", "PARENT_SESSION_ENDED"]
    assert len({one.recorded.policy_version for one in outcomes}) == 3


async def test_commands_replay_and_ask_what_if(serve: Serve, home: Path) -> None:
    """With exit codes for scripts."""
    policies, candidate = home / "p", home / "candidate"
    policies.mkdir()
    candidate.mkdir()
    (candidate / "freeze.yaml").write_text(FREEZE)
    await told(await serve(changes={"policies": [str(policies)]}), home, policies)
    first = decisions(home)[0]

    code, document = pdp(home, "replay", first.decision_id)
    assert (code, document["result"], document["sequence"]) == (0, "agrees", first.seq)

    assert pdp(home, "replay", str(first.seq)) == (code, document)

    code, document = pdp(home, "what-if", "--policies", str(candidate), "--since", "1h")
    assert (code, document["decided"]) == (1, 8)
    counts = {(one["before"], one["after"]): one["count"] for one in document["changes"]}  # type: ignore[attr-defined]
    assert counts == {("GRANTED", "POLICY_DENIED"): 4}
    assert document["examples"][0]["decision_id"] == first.decision_id  # type: ignore[index]

    assert (document["allowed_would_be_denied"], document["denied_for_another_reason"]) == (4, 0)

    done = ran(home, "what-if", "--policies", str(candidate), "--until", "1h")
    assert (done.returncode, json.loads(done.stdout)["decided"]) == (0, 0)
    assert done.stderr == "0 of 0 decisions: none was decided again, so nothing is known of these policies\n"


def test_a_question_that_cannot_find_anything_is_refused(home: Path) -> None:
    """A pipeline would take the silence for consent."""
    empty, policies = home / "empty", home / "p"
    empty.mkdir()
    policies.mkdir()
    (policies / "freeze.yaml").write_text(FREEZE)
    done = ran(home, "what-if", "--policies", str(policies), "--policies", str(empty))
    assert (done.returncode, done.stderr) == (2, f"error: there are no policies in `{empty}`\n")
    done = ran(home, "what-if", "--policies", str(policies), "--since", "9999-01-01")
    assert (done.returncode, "`--since`: `9999-01-01` lies in the future" in done.stderr) == (2, True)


async def test_shadow_policies_record_what_they_would_change(serve: Serve, home: Path) -> None:
    """And change nothing; the set beside may be replaced while the sidecar runs."""
    shadow = home / "shadow"
    shadow.mkdir()
    server = await serve(changes={"shadow_policies": [str(shadow)]})
    assert await server.check() == "GRANTED"
    (shadow / "freeze.yaml").write_text(FREEZE)
    await until(lambda: loads_of_the_shadow(home) == 2)
    assert await server.check() == "GRANTED"
    await until(lambda: len(decisions(home)) == 2)

    lines = [entry.record() for entry in read(home / "journal") if decision_in(entry.raw) is not None]
    assert "shadow" not in lines[0]
    assert "POLICY_DENIED" in str(lines[1]["shadow"])


def loads_of_the_shadow(home: Path) -> int:
    """Return how often a shadow set was loaded."""
    return sum(entry.record().get("name") == "shadow_policies_loaded" for entry in read(home / "journal"))


async def test_a_replay_over_the_door(serve: Serve, home: Path) -> None:
    """For those who may read evidence; in a process of its own, within the deadline."""
    policies = home / "p"
    policies.mkdir()
    server = await serve(changes={"policies": [str(policies)]})
    await server.check()
    await until(lambda: len(decisions(home)) == 1)
    [recorded] = decisions(home)
    evidence = evidence_pb2_grpc.EvidenceServiceStub(server.admin_channel)

    async def replay_over_it(id_: str, who: str = "auditor", within_s: float = 60.0) -> epb.ReplayDecisionResponse:
        request = epb.ReplayDecisionRequest(decision_id=id_)
        return await evidence.ReplayDecision(request, timeout=within_s, metadata=as_principal(who))

    answer = await replay_over_it(recorded.decision_id)
    assert (answer.result, answer.computed_json) == (epb.REPLAY_RESULT_AGREES, "")
    assert json.loads(answer.recorded_json)["reasons"][0]["code"] == "GRANTED"
    codes = [
        (await refusal(replay_over_it("d-none"))).code,
        (await refusal(replay_over_it(""))).code,
        (await refusal(replay_over_it(recorded.decision_id, who="newcomer"))).code,
        (await refusal(replay_over_it(recorded.decision_id, within_s=0.05))).code,
    ]
    assert [code.name for code in codes] == ["NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "DEADLINE_EXCEEDED"]
