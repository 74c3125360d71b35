"""What must not go unnoticed: a break-glass that is taken, and one whose review is overdue.

Rule 1: alarms are raised from what is on record, or about to be, whatever way it came: by a command, by an import, or
by time.
Rule 2: a break-glass is told once; one that is over, was reviewed or was never approved is none that is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from pdp.core.model import Approval, ApprovalKind, ApprovalState, Instant, Put
from pdp.evidence.instants import instant_text
from pdp.evidence.record import AnyRecord, ChangeRecord, Lapse, LapseRecord

log = structlog.get_logger()


class Alarms:
    """Hears records and warns in the process's log."""

    def __init__(self) -> None:
        """Start having heard of nothing."""
        self._told: dict[str, Instant] = {}
        """When those end that were told."""
        self.taken = 0
        """How many break-glasses were."""

    def hear(self, records: Sequence[AnyRecord]) -> None:
        """Warn of what the records tell."""
        for record in records:
            if isinstance(record, ChangeRecord):
                for approval in _taken(record):
                    self._tell(approval, record.at)
            elif isinstance(record, LapseRecord) and record.what is Lapse.REVIEW_OVERDUE:
                log.warning(
                    "break-glass review overdue",
                    approval=record.id,
                    identity=record.identity,
                    review_due=instant_text(record.ended_at),
                )

    def _tell(self, approval: Approval, at: Instant) -> None:
        """Warn of a break-glass; its approval may be written again while it lasts."""
        if approval.id in self._told:
            return
        self._told = {id_: end for id_, end in self._told.items() if end > at} | {approval.id: approval.expires_at}
        self.taken += 1
        log.warning(
            "break-glass taken",
            identity=approval.identity,
            approval=approval.id,
            incident=approval.ticket,
            requested_by=approval.requested_by,
            review_due="" if approval.review_due is None else instant_text(approval.review_due),
        )


def _taken(record: ChangeRecord) -> Iterator[Approval]:
    """Yield the break-glass approvals of a change under which somebody may act."""
    for change in record.changes:
        if not isinstance(change, Put) or not isinstance(change.fact, Approval):
            continue
        approval = change.fact
        taken = approval.kind is ApprovalKind.BREAK_GLASS and approval.state is ApprovalState.APPROVED
        if taken and not approval.reviewed_by and approval.expires_at > record.at:
            yield approval
