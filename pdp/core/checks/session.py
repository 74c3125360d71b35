"""Session: is there exactly one, is it this subject's, and is it live?"""

from __future__ import annotations

from pdp.core.aspects import ALWAYS, CLOSED, IDLE_TIMEOUT, NO_SESSION, SESSION, SESSION_USES
from pdp.core.case import Case
from pdp.core.checks.row import Row
from pdp.core.reasons import Code, Denial
from pdp.core.snapshot import in_force
from pdp.core.wording import duration_text, instant_text


def required(case: Case) -> Denial | None:
    """The request names neither a session nor a task to find one by."""
    if case.session_id or case.asked_task:
        return None
    return Denial(Code.SESSION_REQUIRED, "the request names neither a session nor a task")


def unknown(case: Case) -> Denial | None:
    """The session named, or one of the subject for the task named, does not exist."""
    id_, task = case.request.session, case.asked_task
    if id_:
        return Denial(Code.SESSION_UNKNOWN, f"session `{id_}` is not known", f"session:{id_}")
    if task and not case.candidates:
        return Denial(Code.SESSION_UNKNOWN, f"`{case.subject}` has no session for task `{task}`", f"task:{task}")
    return None


def ambiguous(case: Case) -> Denial | None:
    """Several live sessions fit; picking one would be a guess."""
    if not case.live_candidates:
        return None
    message = f"`{case.subject}` has {case.live_candidates} live sessions for task `{case.asked_task}`"
    return Denial(Code.SESSION_AMBIGUOUS, message, f"task:{case.asked_task}")


def mismatch(case: Case) -> Denial | None:
    """The session is somebody else's."""
    session = case.session
    if session.identity == case.subject:
        return None
    return Denial(Code.SESSION_MISMATCH, f"session `{session.id}` is not `{case.subject}`'s", f"session:{session.id}")


def revoked(case: Case) -> Denial | None:
    """Revoked by id, also before it is known."""
    id_ = case.session_id
    revocations = case.snapshot.revoked_sessions.get(id_)
    revocation = None if revocations is None else in_force(revocations, case.now)
    if revocation is None:
        return None
    return Denial(
        Code.SESSION_REVOKED, f"session `{id_}` is revoked: {revocation.reason}", f"session:{id_}", revocation
    )


def closed(case: Case) -> Denial | None:
    """Ended by its holder or an operator."""
    return Denial(Code.SESSION_CLOSED, f"session `{case.session_id}` is closed", f"session:{case.session_id}")


def not_started(case: Case) -> Denial | None:
    """Before `not_before`."""
    session = case.session
    if session.not_before <= case.now:
        return None
    message = f"session `{session.id}` starts at {instant_text(session.not_before)}"
    return Denial(Code.SESSION_NOT_STARTED, message, f"session:{session.id}")


def expired(case: Case) -> Denial | None:
    """At or after `expires_at`."""
    session = case.session
    if case.now < session.expires_at:
        return None
    message = f"session `{session.id}` expired at {instant_text(session.expires_at)}"
    return Denial(Code.SESSION_EXPIRED, message, f"session:{session.id}")


def idle(case: Case) -> Denial | None:
    """Not used for its idle timeout."""
    session, last = case.session, case.last_use()
    timeout = session.idle_timeout or 0
    if case.now < last + timeout:
        return None
    message = (
        f"session `{session.id}` was last used at {instant_text(last)}, its idle timeout is {duration_text(timeout)}"
    )
    return Denial(Code.SESSION_IDLE, message, f"session:{session.id}")


def exhausted(case: Case) -> Denial | None:
    """Used as often as it may be, by itself and by what it delegated."""
    session, use = case.session, case.snapshot.session_uses.get(case.session_id)
    most = session.max_uses or 0
    if (0 if use is None else use.count) < most:
        return None
    message = f"session `{session.id}` has been used {most} of {most} times"
    return Denial(Code.SESSION_EXHAUSTED, message, f"session:{session.id}")


ROWS = (
    Row(Code.SESSION_REQUIRED, NO_SESSION, required, "open a session and name it"),
    Row(Code.SESSION_UNKNOWN, NO_SESSION, unknown, "open a session for the task"),
    Row(Code.SESSION_AMBIGUOUS, NO_SESSION, ambiguous, "name the session"),
    Row(Code.SESSION_MISMATCH, SESSION, mismatch, "use a session of the subject"),
    Row(Code.SESSION_REVOKED, ALWAYS, revoked, "open a new session, if that is still approved"),
    Row(Code.SESSION_CLOSED, SESSION | CLOSED, closed, "open a new session"),
    Row(Code.SESSION_NOT_STARTED, SESSION, not_started, "wait for the session to start"),
    Row(Code.SESSION_EXPIRED, SESSION, expired, "open a new session"),
    Row(Code.SESSION_IDLE, SESSION | IDLE_TIMEOUT, idle, "open a new session"),
    Row(Code.SESSION_EXHAUSTED, SESSION | SESSION_USES, exhausted, "open a new session"),
)
