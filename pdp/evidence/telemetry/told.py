"""What telemetry says of a record, on its span and in its log record alike; what there is none of is left out.

Rule 1: it is told from the members of the record's line alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pdp.evidence.line.administration_json import AdministrationJson
from pdp.evidence.line.lapse_json import LapseJson
from pdp.evidence.line.record_json import ChangeJson, DecisionJson, Document
from pdp.evidence.telemetry import names

AttributeValue = str | int | tuple[str, ...]
Attributes = dict[str, AttributeValue]

_MOST_FACTS = 64
"""References listed of a change; a bulk load has more, the journal has them all."""


class _Kind(msgspec.Struct):
    kind: str


_DECODE_KIND = msgspec.json.Decoder(_Kind).decode
_DECODERS: Mapping[str, msgspec.json.Decoder[Document]] = {
    "decision": msgspec.json.Decoder(DecisionJson),
    "change": msgspec.json.Decoder(ChangeJson),
    "lapse": msgspec.json.Decoder(LapseJson),
    "administration": msgspec.json.Decoder(AdministrationJson),
}


def told_by_line(line: bytes, kind: str = "") -> Document:
    """Return what a line says, of this kind if that is known; raise ValueError if it is of no record that is told."""
    kind = kind or _DECODE_KIND(line).kind
    decoder = _DECODERS.get(kind)
    if decoder is None:
        message = f"telemetry tells nothing of `{kind}`"
        raise ValueError(message)
    return decoder.decode(line)


def attributes_of(document: Document, *, resource_ids: bool) -> Attributes:
    """Return the attributes of a record; ids of protected resources only if asked for."""
    if isinstance(document, DecisionJson):
        attributes = _of_decision(document, resource_ids=resource_ids)
    elif isinstance(document, ChangeJson):
        attributes = _of_change(document)
    elif isinstance(document, LapseJson):
        attributes = _of_lapse(document)
    elif isinstance(document, AdministrationJson):
        attributes = _of_administration(document)
    else:
        attributes = {}
    return {name: value for name, value in attributes.items() if value not in ("", ())}


def _of_decision(told: DecisionJson, *, resource_ids: bool) -> Attributes:
    request = told.request
    resource_type, _, resource_id = request.resource.partition(":")
    return {
        names.OUTCOME: told.outcome,
        names.REASON_CODE: told.reasons[0].code,
        names.REASON_CODES: tuple(reason.code for reason in told.reasons),
        names.DECISION_ID: told.decision_id,
        names.REQUEST_ID: request.request_id,
        names.CALLER: told.caller,
        names.SUBJECT_ID: request.subject,
        names.IDENTITY_ID: told.identity_id,
        names.IDENTITY_KIND: told.identity_kind,
        names.IDENTITY_OWNER: told.owner,
        names.SESSION_ID: told.session_id,
        names.TASK_ID: told.task_id,
        names.APPROVAL_ID: told.approval_id,
        names.APPROVAL_KIND: told.approval_kind,
        names.APPROVAL_TICKET: told.ticket,
        names.ENTITLEMENT_ID: told.entitlement_id,
        names.ACTION: request.action,
        names.RESOURCE_TYPE: resource_type,
        names.RESOURCE_ID: resource_id if resource_ids else "",
        names.POLICY_NAMES: told.policies,
        names.POLICY_VERSION: told.policy_version,
        names.REVISION: told.revision,
        names.VALID_UNTIL: told.valid_until or "",
    }


def _of_change(told: ChangeJson) -> Attributes:
    return {
        names.REVISION: told.revision,
        names.CHANGE_ACTOR: told.actor,
        names.CHANGE_REASON: told.reason,
        names.CHANGE_FACTS: tuple(f"{change['kind']}:{change['id']}" for change in told.changes[:_MOST_FACTS]),
    }


def _of_lapse(told: LapseJson) -> Attributes:
    return {
        names.LAPSE_WHAT: told.what,
        names.LAPSE_ABOUT: told.about,
        names.LAPSE_ENDED_AT: told.ended_at,
        names.IDENTITY_ID: told.identity_id,
        names.TASK_ID: told.task_id,
        names.APPROVAL_ID: told.approval_id,
    }


def _of_administration(told: AdministrationJson) -> Attributes:
    return {
        names.RPC_METHOD: f"{names.GOVERNANCE_SERVICE}/{told.method}",
        names.ADMINISTRATION_ACTOR: told.actor,
        names.ADMINISTRATION_ROLE: told.role,
        names.ADMINISTRATION_OUTCOME: told.outcome,
        names.ADMINISTRATION_RULE: told.rule,
        names.ADMINISTRATION_ABOUT: told.about,
    }
