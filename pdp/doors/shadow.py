"""A second policy set, decided beside the one in force: what it would change is on record before it changes anything.

Decided in the same step as the answer, on the same state, instant and uses: later the state may have moved on, and the
answer's own use would be counted, so that limits would seem to differ. It costs each decision another `decide`; without
shadow policies nothing is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from pdp.core.decide import decide, refuse
from pdp.core.decision import Decision
from pdp.core.model import Request
from pdp.core.policy.rules import PolicySet
from pdp.core.reasons import Code
from pdp.core.snapshot import Snapshot
from pdp.state.document import Problem
from pdp.state.policy_files import PolicyWatcher, load

log = structlog.get_logger()


class Shadow:
    """Answers beside a decision point, to nobody."""

    def __init__(self, snapshot: Snapshot, policies: PolicySet) -> None:
        """Share the snapshot that is decided on."""
        self._snapshot = snapshot
        self.policies = policies
        """May be replaced at any time between decisions."""

    def otherwise(self, decision: Decision, request: Request) -> Decision | None:
        """Return what the shadow's policies answer, if its primary reason is another; never raises."""
        if decision.code is Code.INTERNAL_ERROR:
            return None
        snapshot = self._snapshot
        in_force = snapshot.policies
        # INVARIANT: nothing is awaited between here and the end, so nobody else sees the snapshot with other policies.
        snapshot.policies = self.policies
        try:
            other = decide(request, snapshot, decision.evaluated_at, used=False)
        except Exception:
            log.exception("the shadow policies failed", subject=request.subject, action=request.action)
            other = refuse(Code.INTERNAL_ERROR, "the shadow policies failed", snapshot, decision.evaluated_at)
        finally:
            snapshot.policies = in_force
        return None if other.code is decision.code else other


def watched_shadow(
    directories: Sequence[Path], snapshot: Snapshot, loaded: Callable[[str], None]
) -> tuple[Shadow, PolicyWatcher]:
    """Return the shadow of the policies in the directories, and what follows their files once it runs.

    `loaded` hears the version of each set. Raises DocumentError with what is wrong with the first; later the last good
    one stays.
    """
    shadow = Shadow(snapshot, load(directories))

    def swap(policies: PolicySet) -> None:
        if policies.version != shadow.policies.version:
            shadow.policies = policies
            loaded(policies.version)

    def refuse(problems: Sequence[Problem]) -> None:
        log.error("the shadow policies were refused", problems=[str(problem) for problem in problems])

    loaded(shadow.policies.version)
    return shadow, PolicyWatcher(directories, swap=swap, refuse=refuse)
