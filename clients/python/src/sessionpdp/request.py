"""The question: the one place that turns Python values into messages.

Rule: a field that cannot be sent exactly as it was given is refused by name, never rounded or dropped,
because a check of something else than the caller meant is worse than none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Final, Required, TypeAlias, TypedDict, cast

from google.protobuf import struct_pb2

from sessionpdp.v1 import decision_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

Attributes: TypeAlias = Mapping[str, object]
"""Names to None, bool, int, float, str, and sequences and mappings of these."""

# google.protobuf.Struct holds numbers as doubles, which are exact for integers up to here.
_LARGEST_EXACT: Final = 2**53
_LARGEST_REVISION: Final = 2**64 - 1


class InvalidCheck(ValueError):  # noqa: N818 - named as users say it
    """The check cannot be asked as it stands: a mistake of the calling code, not a deny."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The identity that acts; `type` is its kind, empty: not compared."""

    id: str
    type: str = ""
    properties: Attributes | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done, dot-separated, with properties."""

    name: str
    properties: Attributes | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """What it is done to; `type` without `:`, segments of `id` separated by `/`."""

    type: str
    id: str
    properties: Attributes | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """What the enforcement point knows of the credential it has verified.

    `id` is what a revocation can name (a token's `jti`, a certificate's serial number). Times need a
    time zone.
    """

    id: str = ""
    issuer: str = ""
    subject: str = ""
    issued_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question: may this subject do this to that, now.

    `subject` as text is its id, `action` its name, `resource` is `type:id`. Without `session` the PDP
    finds it by subject and `task`. `at_least_revision` makes the PDP wait until it has applied that
    revision. `request_id` is the caller's name for the check. `traceparent` (W3C trace context) is what
    the decision's span becomes a child of; a malformed one is ignored, as the standard asks.
    """

    subject: str | Subject
    action: str | Action
    resource: str | Resource
    session: str = ""
    task: str = ""
    context: Attributes | None = None
    credential: Credential | None = None
    at_least_revision: int = 0
    request_id: str = ""
    traceparent: str = ""

    def fields(self) -> CheckFields:
        """Return the fields as keyword arguments of `check`."""
        return cast("CheckFields", {field.name: getattr(self, field.name) for field in fields(self)})


class CheckFields(TypedDict, total=False):
    """The fields of `Check`, as keyword arguments."""

    subject: Required[str | Subject]
    action: Required[str | Action]
    resource: Required[str | Resource]
    session: str
    task: str
    context: Attributes | None
    credential: Credential | None
    at_least_revision: int
    request_id: str
    traceparent: str


class PermissionsFields(TypedDict, total=False):
    """The fields of `permissions`, as in `Check`."""

    subject: Required[str | Subject]
    session: str
    task: str
    context: Attributes | None
    credential: Credential | None
    at_least_revision: int


def check_request(
    *,
    subject: str | Subject,
    action: str | Action,
    resource: str | Resource,
    session: str = "",
    task: str = "",
    context: Attributes | None = None,
    credential: Credential | None = None,
    at_least_revision: int = 0,
    request_id: str = "",
    traceparent: str = "",
) -> decision_pb2.CheckRequest:
    """Return the message; raise `InvalidCheck` that names the first bad field."""
    message = decision_pb2.CheckRequest()
    _set_subject(message.subject, subject)
    _set_action(message.action, action)
    _set_resource(message.resource, resource)
    _set_circumstances(message, session, task, context, credential)
    if request_id:
        _set_text(message, "request_id", request_id, "request_id")
    if traceparent:
        message.traceparent = traceparent
    if at_least_revision:
        message.at_least_revision = _revision(at_least_revision)
    return message


def permissions_request(
    *,
    subject: str | Subject,
    session: str = "",
    task: str = "",
    context: Attributes | None = None,
    credential: Credential | None = None,
    at_least_revision: int = 0,
) -> decision_pb2.ListPermissionsRequest:
    """Return the message; raise `InvalidCheck` that names the first bad field."""
    message = decision_pb2.ListPermissionsRequest(at_least_revision=_revision(at_least_revision))
    _set_subject(message.subject, subject)
    _set_circumstances(message, session, task, context, credential)
    return message


def _set_subject(message: decision_pb2.Subject, subject: str | Subject) -> None:
    if isinstance(subject, Subject):
        if subject.properties:
            _fill_struct(message.properties, subject.properties, "subject.properties")
        _set_text(message, "type", subject.type, "subject.type")
        subject = subject.id
    _set_name(message, "id", subject, "subject")


def _set_action(message: decision_pb2.Action, action: str | Action) -> None:
    if isinstance(action, Action):
        if action.properties:
            _fill_struct(message.properties, action.properties, "action.properties")
        action = action.name
    _set_name(message, "name", action, "action")


def _set_resource(message: decision_pb2.Resource, resource: str | Resource) -> None:
    if isinstance(resource, Resource):
        if resource.properties:
            _fill_struct(message.properties, resource.properties, "resource.properties")
        kind, path = resource.type, resource.id
        if isinstance(kind, str) and ":" in kind:
            msg = f"`resource.type` must not contain `:`, got `{kind}`"
            raise InvalidCheck(msg)
    elif isinstance(resource, str):
        kind, colon, path = resource.partition(":")
        if not colon:
            msg = f"`resource` must be `type:id`, got `{resource}`"
            raise InvalidCheck(msg)
    else:
        msg = f"`resource` must be text or a Resource, got {type(resource).__name__}"
        raise InvalidCheck(msg)
    _set_name(message, "type", kind, "resource.type")
    _set_name(message, "id", path, "resource.id")


def _set_circumstances(
    message: decision_pb2.CheckRequest | decision_pb2.ListPermissionsRequest,
    session: str,
    task: str,
    context: Attributes | None,
    credential: Credential | None,
) -> None:
    if session:
        _set_text(message, "session_id", session, "session")
    if task:
        _set_text(message, "task_id", task, "task")
    if context:
        _fill_struct(message.context, context, "context")
    if credential is not None:
        _set_credential(message.credential, credential)


def _set_credential(message: decision_pb2.Credential, credential: Credential) -> None:
    message.SetInParent()  # a credential without fields is still a credential that was shown
    for field in ("id", "issuer", "subject"):
        _set_text(message, field, getattr(credential, field), f"credential.{field}")
    if credential.issued_at is not None:
        message.issued_at.FromDatetime(_aware(credential.issued_at, "credential.issued_at"))
    if credential.expires_at is not None:
        message.expires_at.FromDatetime(_aware(credential.expires_at, "credential.expires_at"))


def _set_name(message: Message, attribute: str, value: str, field: str) -> None:
    _set_text(message, attribute, value, field)
    if not value:
        msg = f"`{field}` is empty"
        raise InvalidCheck(msg)


def _set_text(message: Message, attribute: str, value: str, field: str) -> None:
    try:
        setattr(message, attribute, value)
    except TypeError as error:
        msg = f"`{field}` must be text, got {type(value).__name__}"
        raise InvalidCheck(msg) from error
    except UnicodeEncodeError as error:
        msg = f"`{field}` is not valid Unicode"
        raise InvalidCheck(msg) from error


def _revision(revision: int) -> int:
    if not isinstance(revision, int) or not 0 <= revision <= _LARGEST_REVISION:
        msg = f"`at_least_revision` must be a revision, got `{revision}`"
        raise InvalidCheck(msg)
    return revision


def _aware(moment: datetime, field: str) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        msg = f"`{field}` must be a datetime with a time zone"
        raise InvalidCheck(msg)
    return moment


def _fill_struct(struct: struct_pb2.Struct, mapping: Attributes, field: str) -> None:
    if not isinstance(mapping, Mapping):
        msg = f"`{field}` must be a mapping, got {type(mapping).__name__}"
        raise InvalidCheck(msg)
    for key, value in mapping.items():
        if not isinstance(key, str):
            msg = f"names in `{field}` must be text, got {type(key).__name__}"
            raise InvalidCheck(msg)
        fill_value(struct.fields[_encodable(key, field)], value, f"{field}.{key}")


def fill_value(slot: struct_pb2.Value, value: object, field: str) -> None:
    """Set the slot to the value; raise `InvalidCheck` for what a Struct cannot hold exactly."""
    if isinstance(value, str):
        slot.string_value = _encodable(value, field)
    elif isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, int | float):
        slot.number_value = _exact(value, field)
    elif value is None:
        slot.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, Mapping):
        slot.struct_value.SetInParent()
        _fill_struct(slot.struct_value, value, field)
    elif isinstance(value, list | tuple):
        slot.list_value.SetInParent()
        for index, item in enumerate(value):
            fill_value(slot.list_value.values.add(), item, f"{field}[{index}]")
    else:
        msg = f"`{field}` cannot be sent: {type(value).__name__} is not a JSON type"
        raise InvalidCheck(msg)


def _exact(value: float, field: str) -> float:
    if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
        msg = f"`{field}` is an integer beyond 2**53, which would be rounded: send it as text"
        raise InvalidCheck(msg)
    if not math.isfinite(value):
        msg = f"`{field}` must be a finite number"
        raise InvalidCheck(msg)
    return value


def _encodable(text: str, field: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"`{field}` is not valid Unicode"
        raise InvalidCheck(msg) from error
    return text
