"""A sidecar of this process whose time, policies and life a test without an event loop of its own moves."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import grpc
from google.protobuf.message import Message
from sessionpdp.v1 import decision_pb2, facts_pb2, governance_pb2

from pdp.app import Sidecar
from pdp.clock import ManualClock
from pdp.core.model import Instant
from pdp.core.policy.rules import PolicySet
from pdp.core.scope import IdentityScope
from pdp.governance.roles import Role
from pdp.governance.tokens import hash_of
from pdp.settings import Administration, PrincipalSettings, Settings
from pdp.state.policy_files import load
from tests.integration.lifecycle_model import Actor, Policy
from tests.integration.serving import PATIENCE_S, QUICK, Refused, Running, as_principal, token_of


class LifecycleSidecar:
    """Started over a directory of its own, stopped, killed, and asked."""

    def __init__(self, now: int, actors: Iterable[Actor]) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))  # a short path, as Unix sockets need
        self._lives = 0
        self._runner = asyncio.Runner()
        self._clock = ManualClock(Instant(now))
        self._policies = PolicySet()
        principals = {one.name: _principal(one) for one in actors}
        self._settings = Settings(
            data_dir=str(self._home / "0"), state=QUICK, administration=Administration(principals=principals)
        )
        self.set_policies(())
        self._runner.run(self._start())

    @property
    def revision(self) -> int:
        """The revision that is in force."""
        return self._running.sidecar.snapshot.revision

    def advance(self, nanoseconds: int) -> None:
        """Let time pass."""
        self._clock.advance(nanoseconds)

    def set_policies(self, policies: Iterable[Policy]) -> None:
        """Replace the policies, by way of a file."""
        directory = self._home / "policies"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for number, policy in enumerate(policies):
            (directory / f"p-{number}.yaml").write_text(_yaml(f"p-{number}", policy))
        self._policies = load([directory])
        if self._lives:
            self._running.sidecar.set_policies(self._policies)

    def ask(self, actor: str, method: str, request: Message) -> Message | Refused:
        """Call a method of GovernanceService as a principal."""
        return self._runner.run(self._ask(actor, method, request))

    def check(self, *requests: decision_pb2.CheckRequest) -> list[bool]:
        """Return whether each of some checks, asked at the same time, is allowed."""
        return self._runner.run(self._check(requests))

    def explain(self, request: decision_pb2.CheckRequest) -> bool:
        """Return whether a check would be allowed; it counts no use."""
        return self._runner.run(self._explain(request))

    def facts(self, auditor: str) -> list[facts_pb2.Fact]:
        """Return all facts."""
        answer = self.ask(auditor, "ListFacts", governance_pb2.ListFactsRequest())
        assert isinstance(answer, governance_pb2.ListFactsResponse)
        assert not answer.next_page_token
        return list(answer.facts)

    def restart(self) -> None:
        """Stop in order, and start over the same directory."""
        self._runner.run(self._stop())
        self._runner.run(self._start())

    def crash(self) -> None:
        """Go on from what lies on the disk at this instant, as after a loss of power."""
        left = Path(self._settings.data_dir)
        found = self._home / str(self._lives)
        shutil.copytree(left, found, ignore=shutil.ignore_patterns("*.sock"), copy_function=_copy)
        self._runner.run(self._stop())
        shutil.rmtree(left)
        found.rename(left)
        self._runner.run(self._start())

    def close(self) -> None:
        """Stop for good."""
        self._runner.run(self._stop())
        self._runner.close()
        shutil.rmtree(self._home)

    async def _start(self) -> None:
        sidecar = Sidecar(self._settings, clock=self._clock, monotonic=lambda: 0, policies=self._policies)
        self._running = Running(sidecar)
        await sidecar.start()
        self._lives += 1

    async def _stop(self) -> None:
        await self._running.close()
        await self._running.sidecar.stop()

    async def _ask(self, actor: str, method: str, request: Message) -> Message | Refused:
        call = getattr(self._running.governance, method)(request, timeout=PATIENCE_S, metadata=as_principal(actor))
        try:
            answer: Message = await call
        except grpc.aio.AioRpcError as error:
            return Refused(error)
        return answer

    async def _check(self, requests: Iterable[decision_pb2.CheckRequest]) -> list[bool]:
        asking = [self._running.decisions.Check(request, timeout=PATIENCE_S) for request in requests]
        allow = decision_pb2.OUTCOME_ALLOW
        return [(await call).decision.outcome == allow for call in asking]

    async def _explain(self, check: decision_pb2.CheckRequest) -> bool:
        request = decision_pb2.ExplainRequest(check=check)
        answer = await self._running.decisions.Explain(request, timeout=PATIENCE_S)
        return bool(answer.decision.outcome == decision_pb2.OUTCOME_ALLOW)


def _copy(file: str, to: str) -> None:
    """Copy a file, unless it is an aside that has just become the real one."""
    with suppress(FileNotFoundError):
        shutil.copy2(file, to)


def _principal(actor: Actor) -> PrincipalSettings:
    return PrincipalSettings(
        roles=frozenset(map(Role, actor.roles)),
        groups=actor.groups,
        identities=IdentityScope(sorted(actor.identities)),
        tokens=[hash_of(token_of(actor.name))],
    )


def _yaml(name: str, policy: Policy) -> str:
    """Return a policy as it is written."""
    approval = {
        "kinds": f"[{', '.join(policy.kinds)}]",
        "independent": "true" if policy.independent else "",
        "approvers": str(policy.approvers) if policy.approvers > 1 else "",
        "groups": f"[{', '.join(policy.groups)}]" if policy.groups else "",
    }
    limits = {
        "session_ttl": policy.session_ttl,
        "idle_timeout": policy.idle_timeout,
        "approval_ttl": policy.approval_ttl,
        "break_glass_ttl": policy.break_glass_ttl,
        "review_within": policy.review_within,
    }
    written = [f"{limit}: {ns // 1_000_000_000}s" for limit, ns in limits.items() if ns is not None]
    if policy.depth is not None:
        written.append(f"delegation_depth: {policy.depth}")
    lines = [
        f"policy: {name}",
        f'match: {{actions: ["{policy.scope.actions}"], resources: ["{policy.scope.resources}"]}}',
    ]
    if policy.kinds:
        asked = ", ".join(f"{key}: {text}" for key, text in approval.items() if text)
        lines.append(f"require: {{approval: {{{asked}}}}}")
    if written:
        lines.append(f"limit: {{{', '.join(written)}}}")
    if policy.freeze:
        lines.append('deny: [{name: freeze, cel: "true"}]')
    return "\n".join(lines)
