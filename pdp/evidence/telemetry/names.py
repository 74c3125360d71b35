"""Names of span attributes, links, instruments and labels: one constant each.

`rpc.*` and `error.type` follow the OpenTelemetry RPC conventions (release candidate); `pdp.*` is ours, for there is no
convention for authorization decisions.
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "sessionpdp"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
DECISION_SERVICE: Final = "sessionpdp.v1.DecisionService"
GOVERNANCE_SERVICE: Final = "sessionpdp.v1.GovernanceService"
CHANGE_SPAN: Final = "pdp.change"
LAPSE_SPAN: Final = "pdp.lapse"
DECISION_EVENT: Final = "pdp.decision"
CHANGE_EVENT: Final = CHANGE_SPAN
LAPSE_EVENT: Final = LAPSE_SPAN
ADMINISTRATION_EVENT: Final = "pdp.administration"

RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
"""As in the schema above; later ones call it `rpc.status_code`."""
ERROR_TYPE: Final = "error.type"

OUTCOME: Final = "pdp.outcome"
REASON_CODE: Final = "pdp.reason.code"
REASON_CODES: Final = "pdp.reason.codes"
DECISION_ID: Final = "pdp.decision.id"
REQUEST_ID: Final = "pdp.request.id"
IDENTITY_ID: Final = "pdp.identity.id"
IDENTITY_KIND: Final = "pdp.identity.kind"
IDENTITY_OWNER: Final = "pdp.identity.owner"
SUBJECT_ID: Final = "pdp.subject.id"
CALLER: Final = "pdp.caller"
SESSION_ID: Final = "pdp.session.id"
TASK_ID: Final = "pdp.task.id"
APPROVAL_ID: Final = "pdp.approval.id"
APPROVAL_KIND: Final = "pdp.approval.kind"
APPROVAL_TICKET: Final = "pdp.approval.ticket"
ENTITLEMENT_ID: Final = "pdp.entitlement.id"
ACTION: Final = "pdp.action"
RESOURCE_TYPE: Final = "pdp.resource.type"
RESOURCE_ID: Final = "pdp.resource.id"
POLICY_NAMES: Final = "pdp.policy.names"
POLICY_VERSION: Final = "pdp.policy.version"
REVISION: Final = "pdp.revision"
VALID_UNTIL: Final = "pdp.valid_until"
CHANGE_ACTOR: Final = "pdp.change.actor"
CHANGE_REASON: Final = "pdp.change.reason"
CHANGE_FACTS: Final = "pdp.change.facts"

ADMINISTRATION_ACTOR: Final = "pdp.administration.actor"
ADMINISTRATION_ROLE: Final = "pdp.administration.role"
ADMINISTRATION_OUTCOME: Final = "pdp.administration.outcome"
ADMINISTRATION_RULE: Final = "pdp.administration.rule"
ADMINISTRATION_ABOUT: Final = "pdp.administration.about"

LAPSE_WHAT: Final = "pdp.lapse.what"
LAPSE_ABOUT: Final = "pdp.lapse.about"
LAPSE_ENDED_AT: Final = "pdp.lapse.ended_at"

LINK_KIND: Final = "pdp.link.kind"
LINK_ID: Final = "pdp.link.id"

DECISIONS: Final = "pdp.decisions"
DECISION_DURATION: Final = "pdp.decision.duration"
ADMINISTRATION: Final = "pdp.administration"
LAPSES: Final = "pdp.lapses"
SHADOW_DIFFERENCES: Final = "pdp.shadow.differences"
BREAK_GLASS_TAKEN: Final = "pdp.break_glass.taken"
METRIC_REVISION: Final = "pdp.revision"
STATE_AGE: Final = "pdp.state.age"
JOURNAL_QUEUE: Final = "pdp.journal.queue"
JOURNAL_LAG: Final = "pdp.journal.lag"
JOURNAL_ERRORS: Final = "pdp.journal.errors"
INDEX_BEHIND: Final = "pdp.index.behind"
TELEMETRY_EXPORTED: Final = "pdp.telemetry.exported"
TELEMETRY_LOST: Final = "pdp.telemetry.lost"
TELEMETRY_FAILURES: Final = "pdp.telemetry.failures"
TELEMETRY_BEHIND: Final = "pdp.telemetry.behind"
POLICY_RELOADS: Final = "pdp.policy.reloads"
WATCH_STREAMS: Final = "pdp.watch.streams"

LABEL_OUTCOME: Final = "outcome"
LABEL_CODE: Final = "code"
LABEL_SHADOW_CODE: Final = "shadow_code"
LABEL_METHOD: Final = "method"
LABEL_RESULT: Final = "result"
LABEL_WHAT: Final = "what"
