"""What is recorded: one value per decision, change and event of this process's life.

Rule 1: on the request path a record only holds references; what it looks like on disk is worked out behind it, by
`record_json`.
Rule 2: a record never holds a secret: of a credential it knows what the request knows, its id and issuer.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from pdp.core.decision import Allow, Decision
from pdp.core.model import NO_ATTRIBUTES, Attributes, Change, Instant, Request, Revision
from pdp.evidence.trace import TraceContext

COUNTS_NO_USE = frozenset({"Explain", "Watch", "ListPermissions"})
"""Methods whose allow is no use of the session; any other counts, so that a new door cannot forget to."""


class DecisionRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One answered question."""

    decision_id: str
    trace: TraceContext
    """The decision's own span."""
    method: str
    """The RPC without its service: `Check`, `CheckBatch`, `CheckStream`, `Watch`."""
    caller: str = ""
    """Who asked; empty if the transport does not say."""
    request: Request
    decision: Decision
    started_at: Instant
    """Wall clock, as `ended_at`; the decision's own clock is `decision.evaluated_at`."""
    ended_at: Instant

    @property
    def at(self) -> Instant:
        """When it happened."""
        return self.started_at

    @property
    def counts_use(self) -> bool:
        """Whether this allow used its sessions and approvals once."""
        return type(self.decision) is Allow and self.method not in COUNTS_NO_USE


class ChangeRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One commit to the facts, by whom and why."""

    revision: Revision
    changes: tuple[Change, ...]
    actor: str
    reason: str = ""
    at: Instant
    ended_at: Instant | None = None
    method: str = ""
    """The RPC without its service (`Revoke`); empty if the change came another way."""
    traceparent: str = ""
    """As stamped into the facts; names the change's span where `trace` is None."""
    trace: TraceContext | None = None
    """The change's own span; None for a change that was made elsewhere."""


class LifecycleRecord(Struct, frozen=True, kw_only=True, gc=False):
    """An event of this process: `started`, `stopped`, `policies_loaded`, `journal_repaired`."""

    name: str
    at: Instant
    attributes: Attributes = NO_ATTRIBUTES


AnyRecord: TypeAlias = DecisionRecord | ChangeRecord | LifecycleRecord
