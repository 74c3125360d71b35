"""The composition root: the only module that knows every part, and in which order they start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import grpc
import structlog
from opentelemetry.sdk.trace.export import SpanExporter

from pdp.clock import Clock, SystemClock
from pdp.core.model import Attribute, Instant, Revision
from pdp.core.policy.rules import PolicySet
from pdp.core.snapshot import Readiness, Snapshot
from pdp.core.wording import SECOND
from pdp.doors.callers import Callers
from pdp.doors.decision_handlers import BatchBounds, DecisionHandlers
from pdp.doors.decision_point import Bounds, DecisionPoint
from pdp.doors.evidence_handlers import EvidenceHandlers
from pdp.doors.fact_handlers import FactHandlers
from pdp.doors.governance_handlers import CommandHandlers, ImportHandlers
from pdp.doors.governing import Governed
from pdp.doors.grpc_door import Admits, GrpcDoor, Method
from pdp.doors.health import HealthHandlers
from pdp.doors.listening import listen
from pdp.doors.principals import Principals
from pdp.doors.reflection import handlers as reflection_handlers
from pdp.doors.replay_handlers import ReplayHandlers
from pdp.doors.review_handlers import ReviewHandlers
from pdp.doors.services import (
    DECISIONS,
    EVIDENCE,
    GOVERNANCE,
    HEALTH,
    decision_methods,
    evidence_methods,
    governance_methods,
    health_methods,
)
from pdp.doors.shadow import watched_shadow
from pdp.doors.story_handlers import StoryHandlers
from pdp.doors.watching import WatchHub
from pdp.evidence.archive.retention import Retention
from pdp.evidence.evidence import Evidence, EvidenceSettings
from pdp.evidence.journal.disk import Disk
from pdp.evidence.record import LapseMark, LifecycleRecord
from pdp.evidence.replay.apart import Sources
from pdp.evidence.telemetry.metrics import Gauges
from pdp.evidence.trace import Ids
from pdp.governance.desk import Desk
from pdp.governance.lapses import Lapses
from pdp.settings import Listener, Settings
from pdp.state.document import Problem
from pdp.state.policy_archive import PolicyArchive
from pdp.state.policy_files import PolicyWatcher, compile_files
from pdp.state.policy_files import read as read_policies
from pdp.state.replica import Replica
from pdp.state.sqlite import SqliteStore
from pdp.state.store import Store, StoreUnusableError

log = structlog.get_logger()

VERSION = version("sessionpdp-server")

_HEALTH_EVERY_S = 0.1
_WARN_AT = 0.8
"""Share of the staleness bound at which health goes NOT_SERVING, so that callers leave before decisions fail."""


class Sidecar:
    """One running PDP. Parts that tests replace are parameters; everything else follows from the settings."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        monotonic: Callable[[], int] = time.monotonic_ns,
        exporter: SpanExporter | None = None,
        policies: PolicySet | None = None,
        disk: Disk | None = None,
    ) -> None:
        """`policies` replaces the files that the settings name, which are then not watched; `disk` is the journal's."""
        self.settings = settings
        self.clock = clock or SystemClock()
        self.snapshot = Snapshot(policies)
        self._monotonic = monotonic
        self._fixed_policies = policies is not None
        self._ids = Ids(settings.telemetry.sample_ratio)
        self._policies_good = True
        self.evidence = Evidence(
            _evidence_settings(settings),
            self._gauges(),
            exporter=exporter,
            decision_log=_decision_log(settings),
            disk=disk,
        )
        self._doors: list[GrpcDoor] = []
        self._servers: list[grpc.aio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self.health = HealthHandlers(
            {"": False, "readiness": False, "liveness": True, "policies": True, "evidence": True}
            | dict.fromkeys((DECISIONS, GOVERNANCE, EVIDENCE), False)
        )
        self._store: Store | None = None
        self.replica: Replica | None = None
        self.watches: WatchHub | None = None
        self.stopping = asyncio.Event()
        """Set when the sidecar is to stop: by a signal, or because a part that must run for ever has not."""
        self.failure: BaseException | None = None
        """What stopped such a part."""

    async def start(self) -> None:
        """Open the doors, load the facts, and serve. Raises what the parts raise; then `stop` releases them."""
        settings, limits = self.settings, self.settings.limits
        Path(settings.data_dir).mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  # nothing is served yet
        if not self._fixed_policies:
            self.snapshot.policies = self._kept_policies()
        store = await SqliteStore.open(settings.database, heartbeat_s=settings.state.heartbeat / SECOND)
        self._store = store
        recorded, lapsed = self._restore(await store.latest_time())
        await _refuse_older_store(store, recorded)
        replica = Replica(store, self.snapshot, max_staleness=settings.state.max_staleness, monotonic=self._monotonic)
        self.replica = replica
        bounds = Bounds(waiting=limits.waiting)
        point = DecisionPoint(self.snapshot, replica, self.clock, self.evidence, self._ids, bounds)
        watches = WatchHub(point, self.clock, limits.watches)
        self.watches = watches
        point.on_limited_use(watches.used)
        self._decide_beside(point)
        replica.subscribe(self._state_changed)
        lapses = Lapses(self.snapshot, store, self.clock, self.evidence, self._ids, lapsed)
        replica.foresee(lapses.foresee)
        decisions = DecisionHandlers(point, watches, BatchBounds(items=limits.batch))
        desk = Desk(store, self.snapshot, replica, self.clock, self.evidence, self._ids)
        missing = await desk.record_missing(recorded)
        await self._open_doors({DECISIONS: decision_methods(decisions)}, self._administration(desk))
        await replica.start()
        self._run_forever(replica, lapses)
        self._post_health()
        started: dict[str, Attribute] = {"version": VERSION, "revision": self.snapshot.revision}
        started |= {"policies": self.snapshot.policies.version, "changes_recorded_late": missing}
        self._note("started", started | {"signing_key": self.evidence.signing_key})
        self._started = True

    async def stop(self) -> None:
        """Say so to callers, let what is under way finish, write what is recorded; bounded by `drain`."""
        drain = self.settings.drain / SECOND
        self.health.close()
        if self.watches is not None:
            self.watches.close()
        for door in self._doors:
            door.close()
        await asyncio.gather(*(server.stop(drain / 2) for server in self._servers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._started:
            self._note("stopped", {"revision": self.snapshot.revision})
        if self._store is not None:
            await self._store.close()
        lost = await self.evidence.close(drain / 2)
        if lost:
            log.error("records could not be written", records=lost)

    def set_policies(self, policies: PolicySet) -> None:
        """Replace the policy set as a whole; every next decision obeys it, and watches are decided anew."""
        self.snapshot.policies = policies
        self._policies_good = True
        if self.watches is not None:
            self.watches.touch_all()

    def _kept_policies(self) -> PolicySet:
        """Return the policies of the files, whose sources are kept first: what decides can be decided again."""
        files = read_policies([Path(directory) for directory in self.settings.policies])
        policies = compile_files(files)
        PolicyArchive(self.settings.policy_archive).keep(files, policies.version)
        return policies

    def _decide_beside(self, point: DecisionPoint) -> None:
        """Have the shadow policies, if there are any, decided beside those in force."""
        directories = [Path(directory) for directory in self.settings.shadow_policies]
        if not directories:
            return

        def loaded(version: str) -> None:
            self._note("shadow_policies_loaded", {"version": version})

        shadow, watcher = watched_shadow(directories, self.snapshot, loaded)
        point.decide_beside(shadow)
        self._start(watcher.run())

    def _restore(self, latest_commit: Instant) -> tuple[Revision, LapseMark | None]:
        """Go on with the uses and the time that earlier runs have on record; return the latest change and lapse."""
        used = self.evidence.start()
        self.snapshot.session_uses.update(used.session_uses)
        self.snapshot.approval_uses.update(used.approval_uses)
        self.clock.not_before(used.latest)
        self.clock.not_before(latest_commit)
        return used.revision, used.lapse

    def _administration(self, desk: Desk) -> Mapping[str, Sequence[Method]]:
        settings, snapshot, usage, commands = self.settings, self.snapshot, self.evidence.usage, CommandHandlers(desk)
        governed = Governed(self.evidence, settings.limits.calls)
        governance = governance_methods(
            governed,
            commands,
            ImportHandlers(desk, settings.limits.facts),
            FactHandlers(desk, snapshot),
            ReviewHandlers(snapshot, desk.now, usage, settings.reviews, commands),
            StoryHandlers(snapshot, desk.now, usage, self.evidence.index),
        )
        sources = Sources(settings.journal_dir, settings.database, settings.policy_archive)
        records = EvidenceHandlers(self.evidence.index, settings.journal_dir, lambda: self.evidence.signing_key)
        evidence = evidence_methods(governed, records, ReplayHandlers(sources))
        return {GOVERNANCE: governance, EVIDENCE: evidence}

    async def _open_doors(
        self, decisions: Mapping[str, Sequence[Method]], administration: Mapping[str, Sequence[Method]]
    ) -> None:
        settings = self.settings
        callers = Callers(settings.decisions.callers, required=settings.decisions.tls is not None)
        await self._open(decisions, callers, settings.decisions, settings.decision_address(), "660")
        address = settings.administration_address()
        principals = Principals(
            settings.administration.principals, unix=address.startswith("unix:"), clock=self.clock.now
        )
        await self._open(administration, principals, settings.administration, address, "600")

    async def _open(
        self, served: Mapping[str, Sequence[Method]], admits: Admits, listener: Listener, address: str, mode: str
    ) -> None:
        """Open one listener with its services, health and reflection."""
        door = GrpcDoor(admits, self.settings.limits.calls)
        server = await listen(
            address,
            int(listener.mode or mode, 8),
            listener.tls,
            [
                *(door.service(name, methods) for name, methods in served.items()),
                door.service(HEALTH, health_methods(self.health)),
                *reflection_handlers(door, [*served, HEALTH]),
            ],
            self.settings.limits,
        )
        self._doors.append(door)
        self._servers.append(server)

    def _run_forever(self, replica: Replica, lapses: Lapses) -> None:
        self._start(replica.run())
        self._start(lapses.run())
        self._start(self._watch_health())
        directories = [Path(directory) for directory in self.settings.policies]
        if directories and not self._fixed_policies:
            keep = PolicyArchive(self.settings.policy_archive).keep
            watcher = PolicyWatcher(directories, swap=self._policies_loaded, refuse=self._policies_refused, keep=keep)
            self._start(watcher.run())

    def _start(self, running: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(running)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Stop when a part that must run for ever has ended, rather than go on as if nothing were."""
        if task.cancelled() or self.failure is not None:
            return
        self.failure = task.exception() or RuntimeError("a part of the sidecar stopped")
        log.error("a part of the sidecar failed", error=str(self.failure))
        self.stopping.set()

    def _state_changed(self, keys: frozenset[str] | None) -> None:
        if self.watches is not None:
            if keys is None:
                self.watches.touch_all()
            else:
                self.watches.touch(keys)

    def _policies_loaded(self, policies: PolicySet) -> None:
        if policies.version == self.snapshot.policies.version and self._policies_good:
            return
        self.set_policies(policies)
        self.evidence.policies_reloaded("loaded")
        self._note("policies_loaded", {"version": policies.version, "policies": len(policies.policies)})

    def _policies_refused(self, problems: Sequence[Problem]) -> None:
        self._policies_good = False
        self.evidence.policies_reloaded("rejected")
        log.error(
            "the policies were refused, the last good set stays",
            version=self.snapshot.policies.version,
            problems=[str(problem) for problem in problems],
        )

    async def _watch_health(self) -> None:
        while True:
            await asyncio.sleep(_HEALTH_EVERY_S)
            self._post_health()

    def _post_health(self) -> None:
        replica = self.replica
        if replica is None:
            return
        fresh = replica.age() < self.settings.state.max_staleness * _WARN_AT
        ready = replica.check_readiness() is Readiness.READY and fresh
        self.health.set(
            dict.fromkeys(("", "readiness", DECISIONS, GOVERNANCE, EVIDENCE), ready)
            | {"policies": self._policies_good, "evidence": self.evidence.healthy}
        )

    def _note(self, name: str, attributes: dict[str, Attribute]) -> None:
        log.info(name.replace("_", " "), **attributes)
        with contextlib.suppress(Exception):
            self.evidence.record_lifecycle(
                LifecycleRecord(name=name, at=Instant(time.time_ns()), attributes=attributes)
            )

    def _gauges(self) -> Gauges:
        return Gauges(
            revision=lambda: self.snapshot.revision,
            state_age_s=lambda: 0.0 if self.replica is None else self.replica.age() / SECOND,
            watch_streams=lambda: 0 if self.watches is None else self.watches.open,
        )


async def _refuse_older_store(store: Store, recorded: Revision) -> None:
    """Raise StoreUnusableError if the journal knows of changes that the store has not.

    A database put back from an older copy has lost revocations; nobody may be let in by it unawares.
    """
    if recorded > 0 and not await store.history(recorded - 1, 1):
        message = (
            f"the journal has the change of revision {recorded}, the database does not: it is older than the journal. "
            "put the newer database back, or move the journal away to go on with what is lost"
        )
        raise StoreUnusableError(message)


async def serve(settings: Settings, *, ready: Callable[[Sidecar], None] | None = None) -> None:
    """Run a sidecar until SIGTERM, SIGINT or SIGHUP, or until a part fails; then raise what failed it."""
    sidecar = Sidecar(settings)
    loop = asyncio.get_running_loop()
    outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # `nohup`
    for number in (signal.SIGTERM, signal.SIGINT, *(() if outlives_terminal else (signal.SIGHUP,))):
        loop.add_signal_handler(number, sidecar.stopping.set)
    try:
        await sidecar.start()
        if ready is not None:
            ready(sidecar)
        await sidecar.stopping.wait()
    finally:
        await sidecar.stop()
    if sidecar.failure is not None:
        raise sidecar.failure


def _evidence_settings(settings: Settings) -> EvidenceSettings:
    journal, telemetry = settings.journal, settings.telemetry
    attributes: Mapping[str, str] = {
        "service.name": "sessionpdp",
        "service.version": VERSION,
        "service.instance.id": f"{os.uname().nodename}-{os.getpid()}",
    }
    return EvidenceSettings(
        directory=settings.journal_dir,
        max_buffered=journal.max_buffered,
        max_buffered_bytes=journal.max_buffered_bytes,
        segment_bytes=journal.segment_bytes,
        flush_interval_s=journal.flush_interval / SECOND,
        compress=journal.compress,
        retention=Retention(keep_for=journal.keep_for, keep_bytes=journal.keep_bytes),
        export_required=telemetry.required,
        mask=tuple(journal.mask),
        version=VERSION,
        resource_attributes=dict(attributes),
        otlp_endpoint=telemetry.otlp_endpoint,
        otlp_insecure=telemetry.otlp_endpoint.startswith("http://"),
        logs=telemetry.logs,
        max_backlog=telemetry.max_backlog,
        resource_ids=telemetry.resource_ids,
        prometheus_port=telemetry.prometheus_port or None,
    )


def _decision_log(settings: Settings) -> Callable[[dict[str, Attribute]], None] | None:
    if not settings.decision_log:
        return None

    def line(decision: dict[str, Attribute]) -> None:
        log.info(str(decision.pop("event")), **decision)

    return line
