"""The commands: one method for each of `governance.proto`, for the blocking client and for asyncio alike."""

# ruff: noqa: A002 - `id` is the word of the contract

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Required, Self, TypedDict, TypeVar, Unpack

from sessionpdp.command_request import word_number
from sessionpdp.v1 import facts_pb2, governance_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from google.protobuf.message import Message

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, repr=False)
class Change:
    """What a command did.

    `revision` is in force already: name it as `at_least_revision` of a check that must see the change; 0 after a dry
    run. `facts` are the contract's messages as written, the command's own first. `already_done`: this is the answer
    to an earlier sending of the same command.
    """

    revision: int
    facts: tuple[facts_pb2.Fact, ...] = field(default=(), hash=False)
    already_done: bool = False

    @classmethod
    def from_wire(cls, response: Message) -> Self:
        """Return the response to any command as a value; that of ApplyFacts has no facts."""
        revision, done = getattr(response, "revision"), getattr(response, "already_done")  # noqa: B009 - of any response
        return cls(revision, tuple(getattr(response, "facts", ())), done)

    @property
    def id(self) -> str:
        """Id of the first fact; empty if there is none."""
        return fact_id(self.facts[0]) if self.facts else ""

    def __repr__(self) -> str:
        """Name the facts as `kind:id`, in one line; whole, they take many."""
        names = ", ".join(f"{fact.WhichOneof('fact')}:{fact_id(fact)}" for fact in self.facts)
        return f"{type(self).__name__}(revision={self.revision}, facts=[{names}], already_done={self.already_done})"


def fact_id(fact: facts_pb2.Fact) -> str:
    """Return the id of a fact of any kind; empty if the fact is of none."""
    kind = fact.WhichOneof("fact")
    return "" if kind is None else str(getattr(fact, kind).id)


class Given(TypedDict, total=False):
    """What every command takes besides its own fields.

    `reason`: why; recorded. `idempotency_key`: sent again under the same key, it is carried out once; without one
    the client makes one for each call. `dry_run`: judge everything, write nothing. `timeout`: seconds.
    """

    reason: str
    idempotency_key: str
    dry_run: bool
    timeout: float | None


class NarrowSessionFields(Given, total=False):
    """What is narrowed of a session; left out: as it is."""

    actions: Sequence[str] | None
    resources: Sequence[str] | None
    constraints: Mapping[str, Sequence[object]] | None
    ttl: timedelta | None
    idle_timeout: timedelta | None
    max_uses: int | None


class OpenSessionFields(Given, total=False):
    """A session to be opened: from `not_before` (now) on, as long as `ttl` and all it rests on allow."""

    id: str
    identity: Required[str]
    task: Required[str]
    entitlement: Required[str]
    approval: str
    actions: Required[Sequence[str]]
    resources: Required[Sequence[str]]
    constraints: Mapping[str, Sequence[object]] | None
    not_before: datetime | None
    ttl: timedelta | None
    idle_timeout: timedelta | None
    max_uses: int | None


class DelegateSessionFields(Given, total=False):
    """A session to be opened within another; task and scope left out are the parent's."""

    id: str
    identity: Required[str]
    entitlement: Required[str]
    task: str
    approval: str
    actions: Sequence[str] | None
    resources: Sequence[str] | None
    constraints: Mapping[str, Sequence[object]] | None
    ttl: timedelta | None
    idle_timeout: timedelta | None
    max_uses: int | None


class Commands(ABC, Generic[Answer]):
    """What a principal can ask to be changed.

    Each answers a `Change`, or raises a `GovernanceError`: `CommandRefused` where a rule stands against it. Instants
    are datetimes with a time zone, durations timedeltas, kinds the words of the contract. See `Given` for the rest.
    """

    @abstractmethod
    def _carry_out(self, command: str, given: Mapping[str, object], /, **fields: object) -> Answer:
        """Send the command of that name in the contract."""

    def register_identity(
        self,
        *,
        id: str,
        kind: str,
        owner: str,
        labels: Mapping[str, str] | None = None,
        credential_max_age: timedelta | None = None,
        **given: Unpack[Given],
    ) -> Answer:
        """Make an identity known, or by a pattern a family of them.

        `kind`: `workload`, `service_account`, `ci_job`, `ai_agent` or `human`.
        """
        record = {"id": id, "kind": kind, "owner": owner, "labels": labels, "credential_max_age": credential_max_age}
        return self._carry_out("RegisterIdentity", given, **record)

    def change_owner(self, identity_id: str, *, owner: str, **given: Unpack[Given]) -> Answer:
        """Have somebody else answer for an identity; also takes over one whose owner has left."""
        return self._carry_out("ChangeOwner", given, identity_id=identity_id, owner=owner)

    def suspend_identity(self, identity_id: str, **given: Unpack[Given]) -> Answer:
        """Stop an identity from acting for the time being; needs a reason."""
        return self._carry_out("SuspendIdentity", given, identity_id=identity_id)

    def reinstate_identity(self, identity_id: str, **given: Unpack[Given]) -> Answer:
        """Let a suspended identity act again."""
        return self._carry_out("ReinstateIdentity", given, identity_id=identity_id)

    def retire_identity(self, identity_id: str, *, credentials: Sequence[str] = (), **given: Unpack[Given]) -> Answer:
        """End an identity for good, with its sessions, approvals and `credentials` (ids); needs a reason."""
        return self._carry_out("RetireIdentity", given, identity_id=identity_id, credentials=credentials)

    def grant_entitlement(
        self,
        *,
        identity: str,
        actions: Sequence[str],
        resources: Sequence[str],
        id: str = "",
        max_session_ttl: timedelta | None = None,
        **given: Unpack[Given],
    ) -> Answer:
        """Make an identity eligible; in force once somebody else has certified it."""
        scope = {"actions": actions, "resources": resources}
        return self._carry_out(
            "GrantEntitlement", given, id=id, identity=identity, max_session_ttl=max_session_ttl, **scope
        )

    def narrow_entitlement(
        self,
        entitlement_id: str,
        *,
        actions: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        max_session_ttl: timedelta | None = None,
        **given: Unpack[Given],
    ) -> Answer:
        """Take from what an identity is eligible for; None: as it is."""
        scope = {"actions": actions, "resources": resources}
        return self._carry_out(
            "NarrowEntitlement", given, entitlement_id=entitlement_id, max_session_ttl=max_session_ttl, **scope
        )

    def certify_entitlement(self, entitlement_id: str, *, until: datetime, **given: Unpack[Given]) -> Answer:
        """Say that an entitlement is to persist until an instant."""
        return self._carry_out("CertifyEntitlement", given, entitlement_id=entitlement_id, until=until)

    def remove_entitlement(self, entitlement_id: str, **given: Unpack[Given]) -> Answer:
        """Take an entitlement away."""
        return self._carry_out("RemoveEntitlement", given, entitlement_id=entitlement_id)

    def request_approval(
        self,
        *,
        identity: str,
        actions: Sequence[str],
        resources: Sequence[str],
        justification: str,
        ticket: str = "",
        id: str = "",
        not_before: datetime | None = None,
        ttl: timedelta | None = None,
        max_uses: int | None = None,
        **given: Unpack[Given],
    ) -> Answer:
        """Ask for consent to a scope and a window: from `not_before` (now) on, for `ttl` (as long as policy allows)."""
        scope = {"identity": identity, "actions": actions, "resources": resources}
        window = {"not_before": not_before, "ttl": ttl, "max_uses": max_uses}
        return self._carry_out(
            "RequestApproval", given, id=id, ticket=ticket, justification=justification, **scope, **window
        )

    def approve(self, approval_id: str, **given: Unpack[Given]) -> Answer:
        """Consent; where policy asks for several people, as one of them."""
        return self._carry_out("Approve", given, approval_id=approval_id)

    def reject(self, approval_id: str, **given: Unpack[Given]) -> Answer:
        """Refuse consent; needs a reason."""
        return self._carry_out("Reject", given, approval_id=approval_id)

    def withdraw(self, approval_id: str, **given: Unpack[Given]) -> Answer:
        """Take back what was asked for, approved or not."""
        return self._carry_out("Withdraw", given, approval_id=approval_id)

    def take_break_glass(
        self,
        *,
        identity: str,
        entitlement: str,
        actions: Sequence[str],
        resources: Sequence[str],
        incident: str,
        task: str = "",
        id: str = "",
        ttl: timedelta | None = None,
        **given: Unpack[Given],
    ) -> Answer:
        """Act in an emergency without consent beforehand; needs a reason, and is reviewed afterwards.

        Makes the approval and the session, both of one id, and unless `task` names one a task named for the incident.
        """
        scope = {"identity": identity, "entitlement": entitlement, "actions": actions, "resources": resources}
        return self._carry_out("TakeBreakGlass", given, id=id, task=task, incident=incident, ttl=ttl, **scope)

    def open_task(self, *, id: str = "", owner: str = "", parent: str = "", **given: Unpack[Given]) -> Answer:
        """Begin a piece of work; its owner is the principal if none is named."""
        return self._carry_out("OpenTask", given, id=id, owner=owner, parent=parent)

    def complete_task(self, task_id: str, **given: Unpack[Given]) -> Answer:
        """End a task that is done; its sessions, and those of its sub-tasks, end with it."""
        return self._carry_out("CompleteTask", given, task_id=task_id)

    def cancel_task(self, task_id: str, **given: Unpack[Given]) -> Answer:
        """End a task that will not be done; its sessions, and those of its sub-tasks, end with it."""
        return self._carry_out("CancelTask", given, task_id=task_id)

    def open_session(self, **fields: Unpack[OpenSessionFields]) -> Answer:
        """Begin access, just in time; `session` also ends it."""
        return self._carry_out("OpenSession", fields)

    def renew_session(self, session_id: str, *, ttl: timedelta | None = None, **given: Unpack[Given]) -> Answer:
        """Move a session's end to `ttl` from now; None: as far as all it rests on allows."""
        return self._carry_out("RenewSession", given, session_id=session_id, ttl=ttl)

    def narrow_session(self, session_id: str, **fields: Unpack[NarrowSessionFields]) -> Answer:
        """Take from what a session may do."""
        return self._carry_out("NarrowSession", fields, session_id=session_id)

    def close_session(self, session_id: str, **given: Unpack[Given]) -> Answer:
        """End a session, and all that was delegated from it."""
        return self._carry_out("CloseSession", given, session_id=session_id)

    def delegate_session(self, parent: str, **fields: Unpack[DelegateSessionFields]) -> Answer:
        """Open a session of another identity within the session `parent`; it ends with any of its ancestors."""
        return self._carry_out("DelegateSession", fields, parent=parent)

    def revoke(
        self,
        *,
        target: str,
        target_id: str,
        id: str = "",
        effective_at: datetime | None = None,
        expires_at: datetime | None = None,
        source: str = "",
        **given: Unpack[Given],
    ) -> Answer:
        """Override every grant of a target, from now or from `effective_at` on; needs a reason.

        `target`: `identity`, `session`, `task`, `approval`, `entitlement`, `credential`, `issuer` or `owner`.
        """
        window = {"effective_at": effective_at, "expires_at": expires_at}
        return self._carry_out("Revoke", given, id=id, target=target, target_id=target_id, source=source, **window)

    def lift_revocation(self, revocation_id: str, **given: Unpack[Given]) -> Answer:
        """Take back what somebody else has revoked; needs a reason."""
        return self._carry_out("LiftRevocation", given, revocation_id=revocation_id)

    def decide_review(
        self,
        review_id: str,
        *,
        choice: str,
        actions: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        until: datetime | None = None,
        revision: int = 0,
        **given: Unpack[Given],
    ) -> Answer:
        """Decide whether something persists: `choice` is `keep`, `narrow` or `remove`.

        `actions` and `resources` are what to narrow to (None: as proposed), `until` the new certification of an
        entitlement, `revision` that of the fact as it was seen (0: not compared).
        """
        scope = {"actions": actions, "resources": resources}
        return self._carry_out(
            "DecideReview", given, review_id=review_id, choice=choice, until=until, revision=revision, **scope
        )

    def apply_facts(
        self,
        facts: Sequence[facts_pb2.Fact] = (),
        *,
        removals: Sequence[tuple[str, str]] = (),
        **given: Unpack[Given],
    ) -> Answer:
        """Write facts as they are and remove others (kind and id), all or none; for pipelines that mirror a system."""
        references = [
            governance_pb2.FactReference(kind=facts_pb2.FactKind.ValueType(kind_number(kind, "removals")), id=id_)
            for kind, id_ in removals
        ]
        return self._carry_out("ApplyFacts", given, facts=facts, removals=references)


def kind_number(kind: str, field: str) -> int:
    """Return the number of a kind of fact; raise `InvalidCommand` for an unknown word."""
    return word_number(facts_pb2.FactKind.DESCRIPTOR, kind, field)
