"""A sidecar for one story: everything about it is real but time and the disk, and a story can break both."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc

from pdp.app import Sidecar
from pdp.clock import SystemClock
from pdp.core.model import Duration, Instant
from pdp.core.policy.rules import PolicySet, Rules
from pdp.core.snapshot import Readiness
from pdp.core.wording import SECOND
from pdp.evidence.journal.faulty_disk import FaultyDisk
from pdp.governance.roles import Principal
from pdp.governance.tokens import hash_of, new_token
from pdp.scenarios.driver import DriverError, ServiceFault
from pdp.settings import Administration, Limits, Listener, PrincipalSettings, Settings, State, Tls
from tests.certificates import Authority
from tests.ports import free_port

PATIENCE_S = 20.0
_ADMITTED = "spiffe://story/admitted"
"""The caller that stands for a transport which admits whoever may ask."""


class _Time:
    """The wall clock of a story; its monotonic clock stands still, so that only the story moves time."""

    def __init__(self) -> None:
        self.wall = 0
        self.leaping = False
        self._ahead = 0

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        """Return the replica's time; while leaping, an hour goes by between any two looks at it."""
        if self.leaping:
            self._ahead += 3600 * SECOND
        return time.monotonic_ns() + self._ahead


class _BrokenPolicies(PolicySet):
    """Policies whose lookup fails, as with a fault in the sidecar itself."""

    def covering(self, action: str, resource: str) -> Rules:
        message = "told to fail"
        raise RuntimeError(message)


class Server:
    """A sidecar of this process with time, disk and state that a story can break."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))  # socket paths must be short
        self.disk = FaultyDisk()
        self.time = _Time()
        self.sidecar: Sidecar | None = None
        self.authority: Authority | None = None
        self.target = f"unix:{self.directory}/pdp.sock"
        self.admin_target = f"unix:{self.directory}/admin.sock"
        self.tokens: dict[str, str] = {}
        """What each principal of the story shows; whoever shows none is `local`, who may import."""
        self._policies: PolicySet | None = None

    async def start(
        self,
        policies: PolicySet,
        callers: Mapping[str, Sequence[str]],
        principals: Sequence[Principal],
        now: Instant,
    ) -> None:
        """Serve; over mTLS if the story has callers."""
        self.time.wall = now
        self.tokens = {one.name: new_token() for one in principals}
        listener = Listener() if not callers else self._secured(callers)
        settings = Settings(
            data_dir=str(self.directory),
            decisions=listener,
            administration=Administration(principals={one.name: self._holding_a_token(one) for one in principals}),
            limits=Limits(waiting=1),
            state=State(heartbeat=Duration(SECOND // 50)),
        )
        clock = SystemClock(self.time.wall_ns, lambda: 0)
        self.sidecar = Sidecar(
            settings, clock=clock, monotonic=self.time.monotonic_ns, policies=policies, disk=self.disk
        )
        await self.sidecar.start()

    def credentials(self, caller: str) -> grpc.ChannelCredentials | None:
        """Return what a caller shows; None on a Unix socket."""
        if self.authority is None:
            if caller:
                message = "a story whose checks have callers must say whom they may ask about"
                raise DriverError(message)
            return None
        return self.authority.client(caller or _ADMITTED)

    def set_policies(self, policies: PolicySet) -> None:
        """Replace the policy set."""
        self.running.set_policies(policies)

    async def set_fault(self, fault: ServiceFault) -> None:
        """Break one thing, mend all others."""
        self._set_ready(ready=fault is not ServiceFault.STATE_NOT_READY)
        self.time.leaping = fault is ServiceFault.STATE_STALE
        if fault is ServiceFault.EVIDENCE_UNAVAILABLE:
            self.disk.break_()
        else:
            self.disk.mend()
        self._set_working(working=fault is not ServiceFault.INTERNAL_ERROR)
        await until(lambda: self.running.evidence.healthy or fault is ServiceFault.EVIDENCE_UNAVAILABLE)
        if fault not in (ServiceFault.STATE_NOT_READY, ServiceFault.STATE_STALE):
            await until(lambda: self._replica_readiness() is Readiness.READY)

    async def close(self) -> None:
        """Stop, and leave nothing behind."""
        if self.sidecar is not None:
            self.disk.mend()
            await self.sidecar.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def running(self) -> Sidecar:
        """The sidecar, once started."""
        assert self.sidecar is not None
        return self.sidecar

    def _secured(self, callers: Mapping[str, Sequence[str]]) -> Listener:
        self.authority = Authority()
        certificate, key, client_ca = self.authority.server_files(self.directory)
        address = f"localhost:{free_port()}"
        self.target = address
        return Listener(
            address=address,
            tls=Tls(certificate=str(certificate), key=str(key), client_ca=str(client_ca)),
            callers={_ADMITTED: ["**"]} | {caller: list(subjects) for caller, subjects in callers.items()},
        )

    def _holding_a_token(self, principal: Principal) -> PrincipalSettings:
        return PrincipalSettings(
            roles=principal.roles,
            groups=principal.groups,
            identities=principal.identities,
            tokens=[hash_of(self.tokens[principal.name])],
        )

    def _replica_readiness(self) -> Readiness:
        assert self.running.replica is not None
        return self.running.replica.check_readiness()

    def _set_ready(self, *, ready: bool) -> None:
        assert self.running.replica is not None
        self.running.replica._loaded = ready
        if not ready:
            self.running.snapshot.readiness = Readiness.NOT_READY

    def _set_working(self, *, working: bool) -> None:
        if self._policies is None and not working:
            self._policies = self.running.snapshot.policies
            self.set_policies(_BrokenPolicies([], self._policies.version))
        elif self._policies is not None and working:
            self.set_policies(self._policies)
            self._policies = None


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # whoever makes it true knows nothing of tests
            await asyncio.sleep(0.005)
