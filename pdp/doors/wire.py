"""Between the wire and the domain: requests in, decisions out.

Each message is converted once, at the door, with a precise fault per field; nothing behind it sees a protobuf.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from sessionpdp.v1 import decision_pb2 as pb
from sessionpdp.v1 import reasons_pb2

from pdp.core.decision import Allow, Decision, Deny
from pdp.core.explain import Explained, Verdict
from pdp.core.lawful_request import Fault, faults_of_request, lawful_at_a_glance
from pdp.core.model import (
    NO_ATTRIBUTES,
    Approval,
    Attribute,
    Attributes,
    Caller,
    Credential,
    Duration,
    Instant,
    Request,
)
from pdp.core.permissions import Permissions
from pdp.core.policy.model import Obligation
from pdp.core.reasons import Code, Denial
from pdp.core.wording import SECOND
from pdp.doors.errors import InvalidRequestError

MOST_VALUES = 1000
"""Values in one context or properties, nested ones included."""
DEEPEST = 16
"""Levels of nesting in one context or properties."""
MAX_TEXT = 16_384
"""Characters in one value of a context or properties."""

MAX_BYTES = 65_536
"""Size of one context or properties: it is kept until its record is on disk, and with a watch for as long as that."""

CODE_NUMBERS: dict[Code, int] = {code: reasons_pb2.ReasonCode.Value(f"REASON_CODE_{code}") for code in Code}
VERDICTS = {
    Verdict.PASSED: pb.VERDICT_PASSED,
    Verdict.FAILED: pb.VERDICT_FAILED,
    Verdict.NOT_REACHED: pb.VERDICT_NOT_REACHED,
}
_NOT_PERMITTED = Code.CALLER_NOT_PERMITTED
_ALLOW, _DENY = pb.OUTCOME_ALLOW, pb.OUTCOME_DENY
_MAX_SECONDS = 253_402_300_799
_MIN_SECONDS = -62_135_596_800

Context: TypeAlias = "dict[str, Attribute]"


class _AttributesError(ValueError):
    """Attributes beyond a bound; the message says which."""


def request_of(message: pb.CheckRequest, caller: Caller | None) -> Request:
    """Return the request a message carries; raise InvalidRequestError with every fault."""
    subject, action, resource = message.subject, message.action, message.resource
    faults: list[Fault] = []
    request = Request(
        subject.id,
        action.name,
        f"{resource.type}:{resource.id}",
        message.session_id,
        message.task_id,
        _attributes("context", message.context, faults) if message.HasField("context") else NO_ATTRIBUTES,
        _credential(message.credential, faults) if message.HasField("credential") else None,
        caller,
        subject.type,
        _properties("subject", subject, faults) if subject.HasField("properties") else NO_ATTRIBUTES,
        _properties("action", action, faults) if action.HasField("properties") else NO_ATTRIBUTES,
        _properties("resource", resource, faults) if resource.HasField("properties") else NO_ATTRIBUTES,
        message.at_least_revision,
        message.request_id,
    )
    if faults or ":" in resource.type or not lawful_at_a_glance(request):
        _refuse_unlawful(request, resource.type, resource.id, faults)
    return request


def _refuse_unlawful(request: Request, resource_type: str, resource_id: str, faults: list[Fault]) -> None:
    """Raise InvalidRequestError with every fault, if there is any."""
    named = faults_of_request(
        subject=request.subject,
        action=request.action,
        resource_type=resource_type,
        resource_id=resource_id,
        subject_type=request.subject_type,
        session=request.session,
        task=request.task,
        request_id=request.request_id,
        credential=request.credential,
    )
    if named or faults:
        raise InvalidRequestError([*named, *faults])


def _properties(name: str, part: pb.Subject | pb.Action | pb.Resource, faults: list[Fault]) -> Attributes:
    return _attributes(f"{name}.properties", part.properties, faults)


def request_about_session(message: pb.ListPermissionsRequest, caller: Caller | None) -> Request:
    """Return the request behind ListPermissions: no action, no resource; raise InvalidRequestError."""
    check = pb.CheckRequest(
        subject=message.subject,
        action=pb.Action(name="any"),
        resource=pb.Resource(type="any", id="any"),
        context=message.context,
        session_id=message.session_id,
        task_id=message.task_id,
        at_least_revision=message.at_least_revision,
    )
    if message.HasField("credential"):
        check.credential.CopyFrom(message.credential)
    return request_of(check, caller)


def _credential(message: pb.Credential, faults: list[Fault]) -> Credential:
    instants: list[Instant | None] = []
    for name in ("issued_at", "expires_at"):
        present = message.HasField(name)
        instants.append(instant_of(getattr(message, name), f"credential.{name}", faults) if present else None)
    return Credential(message.id, message.issuer, message.subject, *instants)


def instant_of(message: timestamp_pb2.Timestamp, field: str, faults: list[Fault]) -> Instant:
    """Return the instant of a timestamp; a fault if it is outside the years 1 to 9999."""
    if not (_MIN_SECONDS <= message.seconds <= _MAX_SECONDS and 0 <= message.nanos < SECOND):
        faults.append(Fault(field, "is not a valid timestamp"))
        return Instant(0)
    return Instant(message.seconds * SECOND + message.nanos)


def duration_of(message: duration_pb2.Duration, field: str, faults: list[Fault]) -> Duration:
    """Return a positive duration; a fault if it is not."""
    nanoseconds = message.seconds * SECOND + message.nanos
    if nanoseconds <= 0 or message.seconds > _MAX_SECONDS:
        faults.append(Fault(field, "must be a positive duration"))
    return Duration(nanoseconds)


def timestamp(instant: Instant) -> timestamp_pb2.Timestamp:
    """Return the timestamp of an instant."""
    seconds, nanos = divmod(instant, SECOND)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)


def _attributes(field: str, message: struct_pb2.Struct, faults: list[Fault]) -> Attributes:
    values = message.fields
    try:
        size = message.ByteSize()
        if size > MAX_BYTES:
            _refuse(f"has {size} bytes, at most {MAX_BYTES} are taken")
        if len(values) > MOST_VALUES:
            _refuse(f"has {len(values)} values, at most {MOST_VALUES} are taken")
        budget = [MOST_VALUES]
        attributes: dict[str, Attribute] = {}
        for name, value in values.items():
            # Texts first: they are most of what contexts hold, and each call here is a tenth of a decision.
            text = value.string_value
            attributes[name] = text if 0 < len(text) <= MAX_TEXT else _attribute(value, 1, budget)
            if len(name) > MAX_TEXT:
                _refuse(f"has a name of {len(name)} characters, at most {MAX_TEXT} are taken")
    except _AttributesError as error:
        faults.append(Fault(field, str(error)))
        return NO_ATTRIBUTES
    return attributes


def _attribute(value: struct_pb2.Value, depth: int, budget: list[int]) -> Attribute:
    budget[0] -= 1
    if budget[0] < 0:
        _refuse(f"has more than {MOST_VALUES} values")
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return _text(value.string_value)
    if kind == "bool_value":
        return value.bool_value
    if kind == "number_value":
        return _number(value.number_value)
    if kind == "null_value":
        return None
    if depth == DEEPEST:
        _refuse(f"is nested more than {DEEPEST} levels deep")
    if kind == "list_value":
        return [_attribute(item, depth + 1, budget) for item in value.list_value.values]
    if kind == "struct_value":
        members = value.struct_value.fields
        return {_text(name): _attribute(member, depth + 1, budget) for name, member in members.items()}
    _refuse("has a value of no kind")
    return None


def attribute_of(value: struct_pb2.Value, field: str, faults: list[Fault]) -> Attribute:
    """Return the attribute of one value; a fault if it is beyond a bound."""
    try:
        return _attribute(value, 1, [MOST_VALUES])
    except _AttributesError as error:
        faults.append(Fault(field, str(error)))
        return None


def _number(number: float) -> float:
    if not math.isfinite(number):
        _refuse(f"has the number `{number}`, which JSON does not have")
    return number


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        _refuse(f"has a text of {len(text)} characters, at most {MAX_TEXT} are taken")
    return text


def _refuse(message: str) -> None:
    raise _AttributesError(message)


def fill_decision(message: pb.Decision, decision: Decision, decision_id: str, trace_id: str) -> None:
    """Write a decision into an empty message.

    Field by field and in place: half the cost of a constructor call and a copy (`benchmarks/test_door.py`).
    """
    message.decision_id = decision_id
    message.trace_id = trace_id
    message.revision = decision.revision
    message.policy_version = decision.policy_version
    message.policies.extend(decision.policies)
    _fill_timestamp(message.evaluated_at, decision.evaluated_at)
    if isinstance(decision, Allow):
        _fill_allow(message, decision)
    else:
        _fill_deny(message, decision)


def _fill_timestamp(message: timestamp_pb2.Timestamp, instant: Instant) -> None:
    message.seconds, message.nanos = divmod(instant, SECOND)


def _fill_allow(message: pb.Decision, allow: Allow) -> None:
    grant = allow.grant
    session, approval = grant.session, grant.approval
    message.outcome = _ALLOW
    reason = message.reasons.add()
    reason.code = CODE_NUMBERS[allow.code]  # type: ignore[assignment]  # enum values are ints at run time
    reason.message = _granted(allow)
    reason.subject_of_reason = f"session:{session.id}"
    message.identity_id = grant.identity.id
    message.owner = grant.identity.owner
    message.session_id = session.id
    message.task_id = session.task
    message.entitlement_id = session.entitlement
    if approval is not None:
        message.approval_id = approval.id
        message.ticket = approval.ticket
    _fill_timestamp(message.valid_until, allow.valid_until)
    for obligation in allow.obligations:
        _fill_obligation(message.obligations.add(), obligation)


def _granted(allow: Allow) -> str:
    grant = allow.grant
    approval = f" and approval `{grant.approval.id}`" if grant.approval is not None else ""
    return f"session `{grant.session.id}` grants it for task `{grant.task.id}`{approval}"


def _fill_deny(message: pb.Decision, deny: Deny) -> None:
    basis = deny.basis
    message.outcome = _DENY
    message.reasons.extend(reason_messages(tellable(deny.reasons)))
    if len(message.reasons) < len(deny.reasons):
        return
    if basis.identity is not None:
        message.identity_id = basis.identity.id
        message.owner = basis.identity.owner
    if basis.session is not None:
        message.session_id = basis.session.id
        message.task_id = basis.session.task
        message.entitlement_id = basis.session.entitlement
        message.approval_id = basis.session.approval
    approval: Approval | None = basis.approval
    if approval is not None:
        message.ticket = approval.ticket


def tellable(denials: Sequence[Denial]) -> Sequence[Denial]:
    """Return the denials that the caller may hear: who may not ask about a subject learns that, and nothing else."""
    return [denial for denial in denials if denial.code is _NOT_PERMITTED] or denials


def reason_messages(denials: Iterable[Denial]) -> list[pb.Reason]:
    """Return the wire form of denials."""
    return [
        pb.Reason(
            code=CODE_NUMBERS[denial.code],  # type: ignore[arg-type]  # enum values are ints at run time
            message=denial.message,
            subject_of_reason=denial.about,
        )
        for denial in denials
    ]


def _fill_obligation(message: pb.Obligation, obligation: Obligation) -> None:
    message.type = obligation.type
    if obligation.parameters:
        message.parameters.update(obligation.parameters)


def explained_messages(rows: Sequence[Explained]) -> list[pb.ExplainedCheck]:
    """Return the wire form of the table's rows; of the one row, for a caller that may not ask."""
    rows = [row for row in rows if row.denial is not None and row.code is _NOT_PERMITTED] or rows
    return [
        pb.ExplainedCheck(
            code=CODE_NUMBERS[row.code],  # type: ignore[arg-type]  # enum values are ints at run time
            group=row.group,
            verdict=VERDICTS[row.verdict],
            facts=row.facts,
            message=row.denial.message if row.denial is not None else "",
            remedy=row.remedy,
        )
        for row in rows
    ]


def permissions_message(permissions: Permissions) -> pb.ListPermissionsResponse:
    """Return the wire form of what a session may do."""
    return pb.ListPermissionsResponse(
        reasons=reason_messages(tellable(permissions.denials)),
        permissions=[
            pb.Permission(action=one.action, resource=one.resource, conditions=one.conditions)
            for one in permissions.permissions
        ],
        revision=permissions.revision,
        policy_version=permissions.policy_version,
        evaluated_at=timestamp(permissions.evaluated_at),
        valid_until=None if permissions.valid_until is None else timestamp(permissions.valid_until),
    )
