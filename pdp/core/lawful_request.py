"""What a request must look like before anything is decided about it.

Rule 1: a request that breaks a rule here never becomes a `Request`; it is answered REQUEST_INVALID.
Rule 2: nothing is repaired. Text is compared byte for byte later, so it is refused now rather than cleaned up.
Rule 3: a request names one thing. A wildcard would be judged as a literal name: the patterns that grant `prod/*`
cover it, the policies that restrict `prod/payroll` do not, and an enforcement point may read it as "all". A `.` or
`..` segment is refused for the same reason: `prod/../secret` lies in the scope `prod/**`.

Other spellings (`prod//x`, a space at the end) are other names: whoever asks must name a resource in one way only.

Every door calls the same function, with the field names of the wire contract.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pdp.core.lawful import MAX_ID_BYTES, fault_of_text
from pdp.core.model import Credential, Request

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_SIMPLE = re.compile(r"[!-~]+").fullmatch
# Subject, action, type:id and the rest, a line each, of plain characters without `*`; a segment of the resource does
# not begin with a dot.
_GLANCE = re.compile(
    r"[!-)+-~]+\n"
    r"[!-)+\-/-~]+(?:\.[!-)+\-/-~]+)*\n"
    r"[!-)+-.0-9;-~]+:(?!\.)[!-)+-.0-~]+(?:/(?!\.)[!-)+-.0-~]*)*\n"
    r"[!-~]*"
).fullmatch
_NOT_ONE_PATH = frozenset({"*", "**", ".", ".."})


class Fault(NamedTuple):
    """A field of the request, by its wire name, and what is wrong with it."""

    field: str
    message: str


def faults_of_request(
    *,
    subject: str,
    action: str,
    resource_type: str,
    resource_id: str,
    subject_type: str = "",
    session: str = "",
    task: str = "",
    request_id: str = "",
    credential: Credential | None = None,
) -> list[Fault]:
    """Return everything that is wrong with a request, in the order of the wire contract; empty if it is lawful."""
    faults = _faults_of_subject(subject, subject_type)
    faults += _faults_of_action(action)
    faults += _faults_of_resource(resource_type, resource_id)
    for field, text in (("session_id", session), ("task_id", task), ("request_id", request_id)):
        if text:
            faults += _faults_of_text(field, text)
    if credential is not None:
        faults += _faults_of_credential(credential)
    return faults


def lawful_at_a_glance(request: Request) -> bool:
    """Whether a request surely has no faults; False says nothing.

    One look at all its text instead of one at each field, which costs an eighth (`benchmarks/test_door.py`).
    """
    subject, action, resource = request.subject, request.action, request.resource
    rest = f"{request.session}{request.task}{request.subject_type}{request.request_id}"
    text = f"{subject}\n{action}\n{resource}\n{rest}"
    return len(text) <= MAX_ID_BYTES and request.credential is None and _GLANCE(text) is not None


def _faults_of_subject(id_: str, type_: str) -> list[Fault]:
    faults = _faults_of_text("subject.type", type_) if type_ else []
    faults += _faults_of_text("subject.id", id_)
    if "*" in id_:
        faults.append(Fault("subject.id", f"`{_shown(id_)}` must name one subject, without `*`"))
    return faults


def _faults_of_action(name: str) -> list[Fault]:
    faults = _faults_of_text("action.name", name)
    if not faults and not all(name.split(".")):
        faults.append(Fault("action.name", f"`{_shown(name)}` must be segments separated by single dots"))
    if "*" in name:
        faults.append(Fault("action.name", f"`{_shown(name)}` must name one action, without `*`"))
    return faults


def _faults_of_resource(type_: str, id_: str) -> list[Fault]:
    faults = _faults_of_text("resource.type", type_)
    stray = next((character for character in ":/*" if character in type_), None)
    if stray is not None:
        faults.append(Fault("resource.type", f"`{_shown(type_)}` must not contain `{stray}`"))
    faults += _faults_of_text("resource.id", id_)
    for segment in id_.split("/") if "*" in id_ or "." in id_ else ():
        if segment in _NOT_ONE_PATH:
            message = f"`{_shown(id_)}` must name one resource, without the segment `{segment}`"
            return [*faults, Fault("resource.id", message)]
    return faults


def _faults_of_credential(credential: Credential) -> list[Fault]:
    named = (
        ("credential.id", credential.id),
        ("credential.issuer", credential.issuer),
        ("credential.subject", credential.subject),
    )
    return [fault for field, text in named if text for fault in _faults_of_text(field, text)]


def _faults_of_text(field: str, text: str) -> list[Fault]:
    """Return what is wrong with any identifier: empty, too long, or with characters no identifier has."""
    if len(text) <= MAX_ID_BYTES and _SIMPLE(text) is not None:  # nearly always, hence first
        return []
    message = fault_of_text(text)
    return [Fault(field, message)] if message else []


def _shown(text: str) -> str:
    """Return the text as a message may carry it: short, and free of control characters."""
    return text[:80].encode("unicode_escape").decode() if _UNPRINTABLE(text) else text[:80]
