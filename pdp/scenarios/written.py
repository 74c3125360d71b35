"""The keys of a scenario file. What they mean is said in `policies/README.md`."""

from __future__ import annotations

from msgspec import Struct, field

from pdp.core.model import Attribute, Credential, Duration, FactKind, Instant, RevocationTarget
from pdp.core.policy.compile import WrittenObligation
from pdp.core.reasons import Code
from pdp.core.scope import IdentityScope
from pdp.governance.roles import Role
from pdp.scenarios.driver import Outcome, ServiceFault


class WrittenProperties(Struct, frozen=True):
    """Properties of the parts of a request."""

    subject: dict[str, Attribute] = {}
    action: dict[str, Attribute] = {}
    resource: dict[str, Attribute] = {}


class WrittenCheck(Struct, frozen=True):
    """A request."""

    subject: str
    action: str
    resource: str
    session: str = ""
    task: str = ""
    context: dict[str, Attribute] = {}
    credential: Credential | None = None
    caller: str = ""
    subject_type: str = ""
    properties: WrittenProperties = WrittenProperties()
    at_least_revision: str = ""
    """`latest` or `latest+N`."""
    request_id: str = ""


class WrittenPermissions(Struct, frozen=True):
    """Whose permissions to list."""

    subject: str
    session: str = ""
    task: str = ""
    context: dict[str, Attribute] = {}
    credential: Credential | None = None
    caller: str = ""


class WrittenExpectation(Struct, frozen=True):
    """What a check should answer."""

    outcome: Outcome | None = None
    code: Code | None = None
    codes: tuple[Code, ...] | None = None
    message: str | None = None
    about: str | None = None
    policies: tuple[str, ...] | None = None
    valid_until: Instant | None = None
    obligations: tuple[str | WrittenObligation, ...] | None = None
    identity: str | None = None
    owner: str | None = None
    session: str | None = None
    task: str | None = None
    entitlement: str | None = None
    approval: str | None = None
    ticket: str | None = None


class WrittenRows(Struct, frozen=True):
    """What `explain` should show."""

    failed: tuple[Code, ...]
    not_reached: tuple[Code, ...] | None = None


class WrittenPermission(Struct, frozen=True):
    """A pair of patterns."""

    action: str
    resource: str
    conditions: tuple[str, ...] = ()


class WrittenPermissionList(Struct, frozen=True):
    """What `permissions` should list; or why nothing."""

    permissions: tuple[WrittenPermission, ...] = ()
    codes: tuple[Code, ...] = ()


class WrittenRemoval(Struct, frozen=True):
    """Which fact to remove."""

    kind: FactKind
    id: str


class WrittenRevocation(Struct, frozen=True):
    """What to revoke."""

    target: RevocationTarget
    id: str
    reason: str
    effective_at: Instant | None = None
    expires_at: Instant | None = None
    source: str = ""


class WrittenDeed(Struct, frozen=True):
    """Who approves or reviews an approval, or certifies an entitlement (and until when)."""

    id: str
    by: str
    until: Instant | None = None


class WrittenPrincipal(Struct, frozen=True):
    """Who commands; its name is the key."""

    roles: frozenset[Role] = frozenset()
    groups: frozenset[str] = frozenset()
    identities: IdentityScope = IdentityScope([])


class WrittenRefusal(Struct, frozen=True):
    """Why a command should be refused: the first rule, or a list of all of them."""

    refused: str | tuple[str, ...]
    message: str | None = None
    remedy: str | None = None
    about: str | None = None


class WrittenStep(Struct, frozen=True):
    """One step: exactly one verb, and what belongs to it."""

    name: str = ""
    expect: object = None
    repeat: int = 1
    check: WrittenCheck | None = None
    explain: WrittenCheck | None = None
    permissions: WrittenPermissions | None = None
    advance: Duration | None = None
    at: Instant | None = None
    apply: object = None
    remove: WrittenRemoval | None = None
    revoke: WrittenRevocation | None = None
    policies: object = None
    fault: ServiceFault | None = None
    complete_task: str | None = None
    cancel_task: str | None = None
    close_session: str | None = None
    suspend: str | None = None
    reinstate: str | None = None
    retire: str | None = None
    reject: str | None = None
    withdraw: str | None = None
    approve: WrittenDeed | None = None
    review: WrittenDeed | None = None
    certify: WrittenDeed | None = None
    command: str | None = None
    by: str = ""
    """Which principal commands."""
    given: object = field(name="with", default=None)
    """The command's fields."""
    reason: str = ""


class WrittenScenario(Struct, frozen=True):
    """A scenario file."""

    scenario: str
    now: Instant
    steps: tuple[object, ...]
    description: str = ""
    policies: object = None
    callers: dict[str, tuple[str, ...]] = {}
    principals: dict[str, WrittenPrincipal] = {}
    facts: object = None
