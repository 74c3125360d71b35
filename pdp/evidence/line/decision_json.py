"""The parts of a decision's line: what was asked, why it was answered so, what that rests on and what it used."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.decision import Allow, Decision, Deny, Found, Grant
from pdp.core.model import NO_ATTRIBUTES, Attributes, Credential, Instant, Request
from pdp.core.reasons import Denial
from pdp.evidence.instants import instant_text


class CredentialJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a request knew of the credential; never the credential."""

    id: str = ""
    issuer: str = ""
    subject: str = ""
    issued_at: str | None = None
    expires_at: str | None = None


class RequestJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """All that `decide` was asked."""

    subject: str
    action: str
    resource: str
    session_id: str = ""
    task_id: str = ""
    context: Attributes = NO_ATTRIBUTES
    credential: CredentialJson | None = None
    subject_type: str = ""
    subject_properties: Attributes = NO_ATTRIBUTES
    action_properties: Attributes = NO_ATTRIBUTES
    resource_properties: Attributes = NO_ATTRIBUTES
    at_least_revision: int = 0
    request_id: str = ""


class ReasonJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """One reason; `revocation_id` names what overrode."""

    code: str
    message: str = ""
    subject_of_reason: str = ""
    revocation_id: str = ""


class UsesJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """What an allow used once."""

    sessions: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    entitlements: tuple[str, ...] = ()
    """Where there are several: the session's own, and those of the sessions it was delegated by."""


class ShadowJson(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the shadow policies would have answered."""

    policy_version: str
    outcome: str
    reasons: tuple[ReasonJson, ...]
    """Without messages, which may quote what the line masks."""


class BasisJson(Struct, frozen=True, array_like=True, gc=False):
    """Ids of the facts an answer was traced to, empty where there is none."""

    identity_id: str = ""
    owner: str = ""
    session_id: str = ""
    task_id: str = ""
    approval_id: str = ""
    ticket: str = ""
    entitlement_id: str = ""


def basis_of(request: Request, basis: Grant | Found) -> BasisJson:
    """Return the ids of what a request was traced to; of a fact not found, the id the request asked for."""
    identity, session, task = basis.identity, basis.session, basis.task
    approval, entitlement = basis.approval, basis.entitlement
    return BasisJson(
        "" if identity is None else identity.id,
        "" if identity is None else identity.owner,
        request.session if session is None else session.id,
        task.id if task is not None else (request.task if session is None else session.task),
        approval.id if approval is not None else ("" if session is None else session.approval),
        "" if approval is None else approval.ticket,
        entitlement.id if entitlement is not None else ("" if session is None else session.entitlement),
    )


def uses_json(allow: Allow) -> UsesJson:
    """Return what an allow used."""
    entitlements = allow.grant.entitlements
    return UsesJson(allow.used_sessions, allow.used_approvals, entitlements if len(entitlements) > 1 else ())


def request_json(request: Request) -> RequestJson:
    """Return what was asked, but for the credential."""
    return RequestJson(
        request.subject,
        request.action,
        request.resource,
        request.session,
        request.task,
        request.context,
        None,
        request.subject_type,
        request.subject_properties,
        request.action_properties,
        request.resource_properties,
        request.at_least_revision,
        request.request_id,
    )


def credential_json(credential: Credential) -> CredentialJson:
    """Return what was known of a credential."""
    issued, expires = optional_text(credential.issued_at), optional_text(credential.expires_at)
    return CredentialJson(credential.id, credential.issuer, credential.subject, issued, expires)


def allow_json(code: str, basis: BasisJson) -> tuple[ReasonJson, ...]:
    """Return the reason of an allow."""
    return (ReasonJson(code, "", f"session:{basis.session_id}"),)


def denials_json(deny: Deny) -> tuple[ReasonJson, ...]:
    """Return every reason of a denial, the primary one first."""
    return tuple(_reason(denial) for denial in deny.reasons)


def shadow_json(decision: Decision, basis: BasisJson) -> ShadowJson:
    """Return what the shadow policies would have answered."""
    if isinstance(decision, Allow):
        return ShadowJson(decision.policy_version, "allow", allow_json(decision.code, basis))
    reasons = tuple(replace(reason, message="") for reason in denials_json(decision))
    return ShadowJson(decision.policy_version, "deny", reasons)


def _reason(denial: Denial) -> ReasonJson:
    by = denial.by
    return ReasonJson(denial.code, denial.message, denial.about, "" if by is None else by.id)


def optional_text(instant: Instant | None) -> str | None:
    """Return an instant as the journal writes it; None for none."""
    return None if instant is None else instant_text(instant)
