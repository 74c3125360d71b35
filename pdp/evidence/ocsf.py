"""Records as events of the Open Cybersecurity Schema Framework; docs/evidence.md has the table.

Rule 1: a member that fits no attribute goes into `unmapped` under its own name; none is left out.
Rule 2: the classes say what happened, the severity is always informational: what is alarming is the reader's to say.
https://schema.ocsf.io/1.6.0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from pdp.core.model import Attribute
from pdp.evidence.instants import parse_instant

VERSION = "1.6.0"
_PRODUCT = {"name": "sessionpdp", "vendor_name": "sessionpdp"}
_MILLISECOND = 1_000_000
_BASE, _ENTITY, _LIFECYCLE, _API = 0, 3004, 6002, 6003
_CATEGORY = 1000
"""Classes of one category."""
_OTHER = 99
_SUCCESS, _FAILURE = 1, 2
_ALLOWED, _DENIED = 1, 2
_BLOCKED = 2
_LAPSES = {"review_overdue": _OTHER, "revocation_in_force": 10}
"""Activities other than that the entity is deactivated: 10 is activate."""
_DEACTIVATE = 11
_EVENTS = {"started": 3, "stopped": 4, "policies_loaded": 8}
_CHANGES = {"put": 3, "drop": 4}

_Members = Mapping[str, Attribute]
_Event = dict[str, Attribute]


def events_of(line: bytes) -> Iterator[_Event]:
    """Yield the events of a record: one, but one for each fact that a change wrote."""
    record = cast("dict[str, Attribute]", msgspec.json.decode(line))
    match record["kind"]:
        case "decision":
            yield _decision(record)
        case "administration":
            yield _administration(record)
        case "change":
            yield from _changes(record)
        case "lapse":
            yield _lapse(record)
        case "lifecycle":
            yield _lifecycle(record)
        case kind:
            yield _event(record, _BASE, _OTHER, str(kind), {}, ("kind",))


def _decision(record: _Members) -> _Event:
    request = _members(record["request"])
    reasons = cast("list[_Members]", record["reasons"])
    allowed = record["outcome"] == "allow"
    type_, _, id_ = str(request["resource"]).partition(":")
    subject = request["subject"]
    said: _Event = {
        "actor": {
            "user": _given(uid=subject, type=request.get("subject_type")),
            **_given(session=_given(uid=record.get("session_id"))),
        },
        "api": {"operation": request["action"], "service": {"name": "DecisionService"}},
        "src_endpoint": {"svc_name": record.get("caller") or subject},
        "resources": [{"type": type_, "uid": id_}],
        "action_id": _ALLOWED if allowed else _DENIED,
        "disposition_id": _ALLOWED if allowed else _BLOCKED,
        "authorizations": _authorizations(record),
        "status_id": _SUCCESS if allowed else _FAILURE,
        "status_code": reasons[0]["code"],
        **_given(status_detail=reasons[0].get("message")),
        "duration": cast("int", record["duration_ns"]) // _MILLISECOND,
    }
    rest = {name: value for name, value in request.items() if name not in ("subject", "action", "resource")}
    event = _event(record, _API, _OTHER, str(request["action"]), said, _TOLD_OF_DECISIONS)
    return _with_rest(event, request=rest)


_TOLD_OF_DECISIONS = ("request", "caller", "policies", "policy_version", "outcome", "session_id")


def _authorizations(record: _Members) -> list[Attribute]:
    version = _given(version=record.get("policy_version"))
    policies = cast("list[str]", record.get("policies", []))
    decision = record["outcome"]
    named: list[Attribute] = [{"decision": decision, "policy": {"name": name, **version}} for name in policies]
    return named or [{"decision": decision, **_given(policy=version)}]


def _administration(record: _Members) -> _Event:
    permitted = record["outcome"] == "permitted"
    said: _Event = {
        "actor": {"user": {"name": record.get("actor") or "unknown"}},
        "api": {"operation": record["method"]},
        "src_endpoint": {"svc_name": record.get("actor") or "unknown"},
        "action_id": _ALLOWED if permitted else _DENIED,
        "disposition_id": _ALLOWED if permitted else _BLOCKED,
        "status_id": _SUCCESS if permitted else _FAILURE,
        **_given(status_code=record.get("rule"), status_detail=record.get("message")),
    }
    return _event(record, _API, _OTHER, str(record["method"]), said, ("method", "actor", "rule", "message", "outcome"))


def _changes(record: _Members) -> Iterator[_Event]:
    changes = cast("list[_Members]", record["changes"])
    for number, change in enumerate(changes):
        said: _Event = {
            "actor": {"user": {"name": record["actor"]}},
            "entity": {"type": change["kind"], "uid": change["id"], **_given(data=change.get("fact"))},
            "status_id": _SUCCESS,
            **_given(comment=record.get("reason")),
        }
        operation = str(change["op"])
        event = _event(record, _ENTITY, _CHANGES[operation], operation, said, ("changes", "actor", "reason"))
        _members_of(event, "metadata")["uid"] = f"{record['seq']}-{number + 1}"
        yield event


def _lapse(record: _Members) -> _Event:
    kind, _, id_ = str(record["about"]).partition(":")
    said: _Event = {
        "entity": {"type": kind, "uid": id_},
        **_given(actor=_given(user=_given(uid=record.get("identity_id")))),
        "status_id": _SUCCESS,
        "status_code": record["what"],
    }
    what = str(record["what"])
    return _event(record, _ENTITY, _LAPSES.get(what, _DEACTIVATE), what, said, ("about", "what", "identity_id"))


def _lifecycle(record: _Members) -> _Event:
    name = str(record["name"])
    return _event(record, _LIFECYCLE, _EVENTS.get(name, _OTHER), name, {"app": {**_PRODUCT}}, ("name",))


_EVERYWHERE = ("v", "seq", "kind", "time", "decision_id", "trace_id", "span_id")
"""Members that have their attribute in any class."""


def _event(
    record: _Members, class_: int, activity: int, activity_name: str, said: _Members, told: tuple[str, ...]
) -> _Event:
    """Return an event with what all have; `told` are the members that `said` says."""
    rest = {name: value for name, value in record.items() if name not in (*_EVERYWHERE, *told)}
    trace = _given(uid=record.get("trace_id"), span=_given(uid=record.get("span_id")))
    return {
        "class_uid": class_,
        "category_uid": class_ // _CATEGORY,
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": class_ * 100 + activity,
        "severity_id": 1,
        "time": parse_instant(str(record["time"])) // _MILLISECOND,
        "metadata": {
            "version": VERSION,
            "product": {**_PRODUCT},
            "profiles": ["security_control", "trace"],
            "log_name": "journal",
            "log_version": str(record["v"]),
            "sequence": record["seq"],
            "uid": str(record["seq"]),
            "original_time": record["time"],
            **_given(correlation_uid=record.get("decision_id"), event_code=record["kind"]),
        },
        **said,
        **({"trace": trace} if "uid" in trace else {}),
        "unmapped": rest,
    }


def _with_rest(event: _Event, **more: _Members) -> _Event:
    unmapped = _members_of(event, "unmapped")
    unmapped.update({name: dict(members) for name, members in more.items() if members})
    return event


def _given(**members: Attribute | None) -> _Event:
    """Return the members that say something."""
    return {name: value for name, value in members.items() if value}


def _members(value: Attribute) -> _Members:
    return cast("_Members", value)


def _members_of(event: _Event, name: str) -> _Event:
    return cast("_Event", event[name])
