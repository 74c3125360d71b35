"""Credential: is what the subject showed still good, and shown by the subject it was issued to?"""

from __future__ import annotations

from pdp.core.case import ALWAYS, CREDENTIAL, Case
from pdp.core.checks.row import Row
from pdp.core.model import Credential, Duration, Instant, RevocationTarget
from pdp.core.reasons import Code, Denial
from pdp.core.wording import duration_text, instant_text

_CREDENTIAL, _ISSUER = RevocationTarget.CREDENTIAL, RevocationTarget.ISSUER


def max_age(case: Case) -> tuple[int, str] | None:
    """Return the tightest bound on the credential's age and the fact or policy that sets it."""
    limit = case.rules.credential_age
    bound = None if limit is None else (limit.bound, f"policy:{limit.policy}")
    identity = case.identity
    if identity is not None and identity.credential_max_age is not None:
        own = (identity.credential_max_age, f"identity:{identity.id}")
        return own if bound is None or own[0] < bound[0] else bound
    return bound


def invalid(case: Case) -> Denial | None:
    """A credential is asked for but not shown, or contradicts itself."""
    credential = case.credential
    if credential is None or credential.issued_at is None:
        bound = max_age(case)
        if bound is None:
            return None
        missing = "no credential" if credential is None else "no time of issue"
        return Denial(Code.CREDENTIAL_INVALID, f"{missing} was given, but `{bound[1]}` limits its age", bound[1])
    if credential.issued_at > case.now:
        message = f"credential is issued in the future, at {instant_text(credential.issued_at)}"
        return Denial(Code.CREDENTIAL_INVALID, message, _about(credential))
    if credential.expires_at is not None and credential.expires_at <= credential.issued_at:
        return Denial(Code.CREDENTIAL_INVALID, "credential expires before it was issued", _about(credential))
    return None


def expired(case: Case) -> Denial | None:
    """Invalid at its expiry."""
    credential = case.credential
    if credential is not None and credential.expires_at is not None and credential.expires_at <= case.now:
        message = f"credential expired at {instant_text(credential.expires_at)}"
        return Denial(Code.CREDENTIAL_EXPIRED, message, _about(credential))
    return None


def revoked(case: Case) -> Denial | None:
    """The credential itself or its issuer is revoked."""
    credential = case.credential
    if credential is None:
        return None
    for target, id_ in ((_CREDENTIAL, credential.id), (_ISSUER, credential.issuer)):
        revocation = case.snapshot.revocation(target, id_, case.now) if id_ else None
        if revocation is not None:
            message = f"{target} `{id_}` is revoked: {revocation.reason}"
            return Denial(Code.CREDENTIAL_REVOKED, message, f"{target}:{id_}", revocation)
    return None


def too_old(case: Case) -> Denial | None:
    """Older than the identity or a policy allows."""
    credential = case.credential
    if credential is None or credential.issued_at is None:
        return None
    bound = max_age(case)
    if bound is None or case.now < credential.issued_at + bound[0]:
        return None
    age = duration_text(Duration(case.now - credential.issued_at))
    message = f"credential is {age} old, `{bound[1]}` allows {duration_text(bound[0])}"
    return Denial(Code.CREDENTIAL_TOO_OLD, message, bound[1])


def mismatch(case: Case) -> Denial | None:
    """Issued to somebody else."""
    credential = case.credential
    if credential is not None and credential.subject and credential.subject != case.subject:
        message = f"credential was issued to `{credential.subject}`, not to `{case.subject}`"
        return Denial(Code.CREDENTIAL_MISMATCH, message, _about(credential))
    return None


def edges(case: Case) -> list[Instant]:
    """Return the instants at which the credential begins or ends to be good."""
    credential = case.credential
    if credential is None:
        return []
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
    Row(Code.CREDENTIAL_INVALID, ALWAYS, invalid, "show a credential with its times of issue and expiry"),
    Row(Code.CREDENTIAL_EXPIRED, CREDENTIAL, expired, "obtain a new credential"),
    Row(Code.CREDENTIAL_REVOKED, CREDENTIAL, revoked, "obtain a credential that is not revoked, from a trusted issuer"),
    Row(Code.CREDENTIAL_TOO_OLD, CREDENTIAL, too_old, "obtain a new credential"),
    Row(Code.CREDENTIAL_MISMATCH, CREDENTIAL, mismatch, "show the subject's own credential"),
)
