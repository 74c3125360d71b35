"""Credential: is what the subject showed still good, and shown by the subject it was issued to?"""

from __future__ import annotations

from pdp.core.aspects import AGE_LIMIT, CREDENTIAL
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.model import Credential, Duration, Instant
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import in_force
from pdp.core.wording import duration_text, instant_text


def max_age(case: Case) -> tuple[int, str] | None:
    """Return the tightest bound on the credential's age and the fact or policy that sets it."""
    bounds = []
    limit = case.rules.credential_age
    if limit is not None:
        bounds.append((limit.bound, f"policy:{limit.policy}"))
    identity: object = case.identity
    if identity is not None and case.identity.credential_max_age is not None:
        bounds.append((case.identity.credential_max_age, f"identity:{case.identity.id}"))
    return min(bounds, default=None)


def missing(case: Case) -> Denial | None:
    """Its age is limited, but no credential or no time of issue was given."""
    credential: Credential | None = case.credential
    bound = max_age(case)
    if bound is None or (credential is not None and credential.issued_at is not None):
        return None
    what = "no credential" if credential is None else "no time of issue"
    return Denial(Code.CREDENTIAL_INVALID, f"{what} was given, but `{bound[1]}` limits its age", bound[1])


def invalid(case: Case) -> Denial | None:
    """It contradicts itself, or is issued in the future."""
    credential = case.credential
    if credential.issued_at is None:
        return None
    if credential.issued_at > case.now:
        message = f"credential is issued in the future, at {instant_text(credential.issued_at)}"
        return Denial(Code.CREDENTIAL_INVALID, message, _about(credential))
    if credential.expires_at is not None and credential.expires_at <= credential.issued_at:
        return Denial(Code.CREDENTIAL_INVALID, "credential expires before it was issued", _about(credential))
    return None


def expired(case: Case) -> Denial | None:
    """Invalid at its expiry."""
    credential = case.credential
    if credential.expires_at is None or case.now < credential.expires_at:
        return None
    message = f"credential expired at {instant_text(credential.expires_at)}"
    return Denial(Code.CREDENTIAL_EXPIRED, message, _about(credential))


def revoked(case: Case) -> Denial | None:
    """The credential itself or its issuer is revoked."""
    credential, snapshot = case.credential, case.snapshot
    for kind, id_, revocations in (
        ("credential", credential.id, snapshot.revoked_credentials),
        ("issuer", credential.issuer, snapshot.revoked_issuers),
    ):
        revocation = in_force(revocations.get(id_, ()), case.now)
        if revocation is not None:
            message = f"{kind} `{id_}` is revoked: {revocation.reason}"
            return Denial(Code.CREDENTIAL_REVOKED, message, f"{kind}:{id_}", revocation)
    return None


def too_old(case: Case) -> Denial | None:
    """Older than the identity or a policy allows."""
    issued_at, bound = case.credential.issued_at, max_age(case)
    if issued_at is None or bound is None or case.now < issued_at + bound[0]:
        return None
    age = duration_text(Duration(case.now - issued_at))
    message = f"credential is {age} old, `{bound[1]}` allows {duration_text(bound[0])}"
    return Denial(Code.CREDENTIAL_TOO_OLD, message, bound[1])


def mismatch(case: Case) -> Denial | None:
    """Issued to somebody else."""
    credential = case.credential
    if not credential.subject or credential.subject == case.subject:
        return None
    message = f"credential was issued to `{credential.subject}`, not to `{case.subject}`"
    return Denial(Code.CREDENTIAL_MISMATCH, message, _about(credential))


def edges(case: Case) -> list[Instant]:
    """Return the instants at which the credential begins or ends to be good."""
    credential = case.credential
    instants = [] if credential.expires_at is None else [credential.expires_at]
    if credential.issued_at is not None:
        instants.append(credential.issued_at)
        bound = max_age(case)
        if bound is not None:
            instants.append(Instant(credential.issued_at + bound[0]))
    return instants


def _about(credential: Credential) -> str:
    return f"credential:{credential.id}"


ROWS = (
    Row(Code.CREDENTIAL_INVALID, AGE_LIMIT, missing, "show a credential with its times of issue and expiry"),
    Row(Code.CREDENTIAL_INVALID, CREDENTIAL, invalid, "show a credential with its times of issue and expiry"),
    Row(Code.CREDENTIAL_EXPIRED, CREDENTIAL, expired, "obtain a new credential"),
    Row(Code.CREDENTIAL_REVOKED, CREDENTIAL, revoked, "obtain a credential that is not revoked, from a trusted issuer"),
    Row(Code.CREDENTIAL_TOO_OLD, CREDENTIAL | AGE_LIMIT, too_old, "obtain a new credential"),
    Row(Code.CREDENTIAL_MISMATCH, CREDENTIAL, mismatch, "show the subject's own credential"),
)
