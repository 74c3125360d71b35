"""A decision as one line of the process's log, for those who read logs rather than journals."""

from __future__ import annotations

from pdp.core.decision import Allow
from pdp.core.model import Attribute
from pdp.evidence.line.decision_json import basis_of
from pdp.evidence.record import DecisionRecord


def decision_log_line(record: DecisionRecord) -> dict[str, Attribute]:
    """Return the line's members; `decision_id`, `trace_id` and `span_id` are those of journal, span and response.

    Without context and properties: they may be large, and logs travel further than the journal.
    """
    decision, request, basis, trace = (
        record.decision,
        record.request,
        basis_of(record.request, record.decision.basis),
        record.trace,
    )
    line: dict[str, Attribute] = {
        "event": "decision",
        "outcome": "allow" if isinstance(decision, Allow) else "deny",
        "code": decision.code.value,
        "decision_id": record.decision_id,
        "trace_id": trace.trace_id,
        "span_id": trace.span_id,
        "trace_flags": "01" if trace.sampled else "00",
        "subject": request.subject,
        "action": request.action,
        "resource": request.resource,
        "identity_id": basis.identity_id,
        "owner": basis.owner,
        "session_id": basis.session_id,
        "task_id": basis.task_id,
        "approval_id": basis.approval_id,
        "ticket": basis.ticket,
        "revision": decision.revision,
        "policy_version": decision.policy_version,
    }
    return {name: value for name, value in line.items() if value != ""}
