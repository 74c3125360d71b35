"""Session: is there exactly one, is it this subject's, and is it live?"""

from __future__ import annotations

from pdp.core.case import ALWAYS, SESSION, Case
from pdp.core.checks.row import Row
from pdp.core.model import RevocationTarget, SessionState
from pdp.core.reasons import Code, Denial
from pdp.core.wording import duration_text, instant_text

_SESSION, _CLOSED = RevocationTarget.SESSION, SessionState.CLOSED


def required(case: Case) -> Denial | None:
    """The request names neither a session nor a task to find one by."""
    if case.session is None and not case.session_id and not case.asked_task:
        return Denial(Code.SESSION_REQUIRED, "the request names neither a session nor a task")
    return None


def unknown(case: Case) -> Denial | None:
    """The session named, or one of the subject for the task named, does not exist."""
    if case.session is not None or case.ambiguous:
        return None
    if case.session_id:
        return Denial(Code.SESSION_UNKNOWN, f"session `{case.session_id}` is not known", f"session:{case.session_id}")
    if case.asked_task:
        message = f"`{case.subject}` has no session for task `{case.asked_task}`"
        return Denial(Code.SESSION_UNKNOWN, message, f"task:{case.asked_task}")
    return None


def ambiguous(case: Case) -> Denial | None:
    """Several live sessions fit; picking one would be a guess."""
    if case.ambiguous > 1:
        message = f"`{case.subject}` has {case.ambiguous} live sessions for task `{case.asked_task}`"
        return Denial(Code.SESSION_AMBIGUOUS, message, f"task:{case.asked_task}")
    return None


def mismatch(case: Case) -> Denial | None:
    """The session is somebody else's."""
    session = case.session
    if session is not None and session.identity != case.subject:
        message = f"session `{session.id}` is not `{case.subject}`'s"
        return Denial(Code.SESSION_MISMATCH, message, f"session:{session.id}")
    return None


def revoked(case: Case) -> Denial | None:
    """Revoked by id, also before it is known."""
    id_ = case.session_id
    revocation = case.snapshot.revocation(_SESSION, id_, case.now) if id_ else None
    if revocation is None:
        return None
    return Denial(Code.SESSION_REVOKED, f"session `{id_}` is revoked: {revocation.reason}", f"session:{id_}", revocation)


def closed(case: Case) -> Denial | None:
    """Ended by its holder or an operator."""
    session = case.session
    if session is not None and session.state is _CLOSED:
        return Denial(Code.SESSION_CLOSED, f"session `{session.id}` is closed", f"session:{session.id}")
    return None


def not_started(case: Case) -> Denial | None:
    """Before `not_before`."""
    session = case.session
    if session is not None and case.now < session.not_before:
        message = f"session `{session.id}` starts at {instant_text(session.not_before)}"
        return Denial(Code.SESSION_NOT_STARTED, message, f"session:{session.id}")
    return None


def expired(case: Case) -> Denial | None:
    """At or after `expires_at`."""
    session = case.session
    if session is not None and session.expires_at <= case.now:
        message = f"session `{session.id}` expired at {instant_text(session.expires_at)}"
        return Denial(Code.SESSION_EXPIRED, message, f"session:{session.id}")
    return None


def idle(case: Case) -> Denial | None:
    """Not used for its idle timeout."""
    session = case.session
    if session is None or session.idle_timeout is None:
        return None
    last = case.last_use(session)
    if case.now < last + session.idle_timeout:
        return None
    timeout = duration_text(session.idle_timeout)
    message = f"session `{session.id}` was last used at {instant_text(last)}, its idle timeout is {timeout}"
    return Denial(Code.SESSION_IDLE, message, f"session:{session.id}")


def exhausted(case: Case) -> Denial | None:
    """Used as often as it may be, by itself and by what it delegated."""
    session = case.session
    if session is None or session.max_uses is None:
        return None
    use = case.snapshot.session_uses.get(session.id)
    if (0 if use is None else use.count) < session.max_uses:
        return None
    message = f"session `{session.id}` has been used {session.max_uses} of {session.max_uses} times"
    return Denial(Code.SESSION_EXHAUSTED, message, f"session:{session.id}")


ROWS = (
    Row(Code.SESSION_REQUIRED, ALWAYS, required, "open a session and name it"),
    Row(Code.SESSION_UNKNOWN, ALWAYS, unknown, "open a session for the task"),
    Row(Code.SESSION_AMBIGUOUS, ALWAYS, ambiguous, "name the session"),
    Row(Code.SESSION_MISMATCH, SESSION, mismatch, "use a session of the subject"),
    Row(Code.SESSION_REVOKED, ALWAYS, revoked, "open a new session, if that is still approved"),
    Row(Code.SESSION_CLOSED, SESSION, closed, "open a new session"),
    Row(Code.SESSION_NOT_STARTED, SESSION, not_started, "wait for the session to start"),
    Row(Code.SESSION_EXPIRED, SESSION, expired, "open a new session"),
    Row(Code.SESSION_IDLE, SESSION, idle, "open a new session"),
    Row(Code.SESSION_EXHAUSTED, SESSION, exhausted, "open a new session"),
)
