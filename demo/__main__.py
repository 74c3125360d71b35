"""A release job ends, and its access with it: a real sidecar, governed and asked over gRPC by the real clients.

Starts `pdp serve` in a directory of its own and tells the story of `policies/examples/release-job` as of now: the
release manager asks, the change manager approves, the pipeline opens a session for the agent and completes the release.
Shows each decision with its reasons, each refusal with its remedy, the span with its links, and the verified journal.
Exits 1 if any answer is not the one the story expects.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from msgspec.structs import replace
from rich.console import Console
from sessionpdp import PDP, Change, CommandRefused, Decision, Governance
from sessionpdp.v1 import governance_pb2

from demo.receiver import SpanReceiver, attributes
from demo.sidecar import DemoSidecar
from pdp.cli.usage_view import times_text
from pdp.core.model import AnyFact, Entitlement, Instant
from pdp.core.wording import SECOND
from pdp.doors.facts_wire import message_of
from pdp.evidence.seals.verifying import Verified, verify
from pdp.state.facts_file import parse_facts

STORY = Path(__file__).parent.parent / "policies" / "examples" / "release-job"
AGENT, RELEASE, CHANGE, SESSION = "spiffe://shop.example/deployer", "release-7.4", "change-1842", "session-release-7.4"
SHOP, STAGING = "cluster:prod/shop/checkout", "cluster:staging/shop/checkout"
PRODUCTION = ["cluster:prod/shop/**"]
PRINCIPALS = {
    "release-manager": {"roles": ["requester", "approver"], "identities": ["spiffe://shop.example/*"]},
    "change-manager": {"roles": ["approver"]},
}
APPROVAL_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The trace of the change-management system in which the change is approved."""
PIPELINE_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""The trace of the pipeline that opens the session."""
CALL_TRACE = "00-11111111111111111111111111111111-2222222222222222-01"
"""The trace of the deployment that asks."""
DAY = 86_400 * SECOND

console = Console(highlight=False)


def main() -> int:
    """Tell the story; return 0 if every answer was as it should be."""
    with tempfile.TemporaryDirectory(prefix="pdp-") as directory, SpanReceiver() as receiver:
        console.rule("[bold]a sidecar starts")
        with DemoSidecar(Path(directory), STORY, PRINCIPALS, receiver.port) as sidecar:
            console.print(f"[dim]pid {sidecar.pid}, listening on {sidecar.target}\n")
            good = _tell(sidecar, receiver)
        return 0 if _journal(sidecar.data / "journal") and good else 1


def _tell(sidecar: DemoSidecar, receiver: SpanReceiver) -> bool:
    with (
        Governance(sidecar.admin_target) as inventory,
        _as(sidecar, "release-manager", PIPELINE_TRACE) as release_manager,
        _as(sidecar, "change-manager", APPROVAL_TRACE) as change_manager,
        PDP(sidecar.target, timeout=5, traceparent=lambda: CALL_TRACE) as pdp,
    ):
        _import(inventory)
        refused = _ask_for_consent(release_manager, change_manager)
        allowed, as_told = _release(release_manager, pdp)
        _describe(release_manager.describe_session(SESSION))
        return refused and as_told and _show_span(receiver, allowed)


def _as(sidecar: DemoSidecar, principal: str, trace: str) -> Governance:
    return Governance(sidecar.admin_target, token=sidecar.tokens[principal], traceparent=lambda: trace)


def _import(inventory: Governance) -> None:
    """Write what the platform's inventory knows: the agent, and what it is eligible for."""
    facts = list(_certified(parse_facts((STORY / "facts.yaml").read_text(), "facts.yaml")))
    change = inventory.apply_facts([message_of(fact) for fact in facts], reason="inventory")
    for fact in facts:
        console.print(f"[dim]revision {change.revision}: {type(fact).__name__.lower()} {fact.id}, imported")
    console.print()


def _certified(facts: list[AnyFact]) -> Iterator[AnyFact]:
    """Yield the facts, certified for the days to come: the story has dates of its own."""
    for fact in facts:
        later = Instant(time.time_ns() + 90 * DAY)
        yield replace(fact, certified_until=later) if isinstance(fact, Entitlement) else fact


def _ask_for_consent(release_manager: Governance, change_manager: Governance) -> bool:
    console.rule("[bold]the change is asked for, and approved by somebody else")
    asked = release_manager.request_approval(
        id=CHANGE,
        identity=AGENT,
        actions=["deploy.*"],
        resources=PRODUCTION,
        ticket="CHG-1842",
        justification="checkout 7.4",
        ttl=timedelta(hours=3),
    )
    _show_change(asked, f"release-manager asks for approval `{CHANGE}`")
    refused = _show_refusal("release-manager approves it", partial(release_manager.approve, CHANGE), "FOUR_EYES")
    _show_change(change_manager.approve(CHANGE, reason="tested on staging"), "change-manager approves it")
    _show_change(release_manager.open_task(id=RELEASE), f"release-manager opens task `{RELEASE}`")
    console.print()
    return refused


def _release(release_manager: Governance, pdp: PDP) -> tuple[Decision, bool]:
    """Deploy within a session that lasts as long as the block, and end the release in the midst of it."""
    console.rule("[bold]the release is under way")
    with release_manager.session(
        id=SESSION,
        identity=AGENT,
        task=RELEASE,
        entitlement="deploy-shop",
        approval=CHANGE,
        actions=["deploy.start", "deploy.rollback"],
        resources=PRODUCTION,
        ttl=timedelta(hours=1),
    ) as session:
        checks = session.on(pdp)
        allowed = checks.check("deploy.start", SHOP)
        watch = pdp.watch(subject=AGENT, action="deploy.start", resource=SHOP, session=SESSION)
        good = [
            _show("deploy to production", allowed, "GRANTED"),
            _show("deploy to staging", checks.check("deploy.start", STAGING), "RESOURCE_OUT_OF_SCOPE"),
            _show("watch it, as a long-lived connection would", next(watch), "GRANTED"),
            _show_refusal("prolong it for the day", partial(session.renew, ttl=timedelta(hours=8)), "POLICY_LIMIT"),
        ]
        console.rule("[bold]the release is completed")
        _show_change(release_manager.complete_task(RELEASE, reason="7.4 is out"), f"task `{RELEASE}` is completed\n")
        good += [
            _show("the watch hears of it, unasked", next(watch), "TASK_ENDED"),
            _show("deploy once more", checks.check("deploy.start", SHOP), "TASK_ENDED"),
        ]
        _explain(pdp)
    return allowed, all(good)


def _show_change(change: Change, what: str) -> None:
    console.print(f"[dim]revision {change.revision}: {what}")


def _show_refusal(what: str, command: Callable[[], Change], expected: str) -> bool:
    try:
        _show_change(command(), what)
    except CommandRefused as refused:
        console.print(f"[bold red]REFUSED[/] {what}")
        console.print(f"        {refused.rule}: {refused.message}; {refused.remedy}\n", style="dim")
        return refused.rule == expected
    console.print(f"        [bold red]the story expects {expected}")
    return False


def _show(what: str, decision: Decision, expected: str) -> bool:
    verdict = "[bold green]ALLOW" if decision.allowed else "[bold red]DENY "
    console.print(f"{verdict}[/] {what}")
    for reason in decision.reasons:
        console.print(f"        {reason.code}: {reason.message}", style="dim")
    if decision.allowed:
        console.print(f"        approval {decision.approval_id}, ticket {decision.ticket}, owner {decision.owner}")
        console.print(f"        ask again by {decision.valid_until:%H:%M:%S} UTC; do: {decision.obligations[0].type}")
    if decision.code != expected:
        console.print(f"        [bold red]the story expects {expected}")
    console.print()
    return decision.code == expected


def _explain(pdp: PDP) -> None:
    explanation = pdp.explain(subject=AGENT, action="deploy.start", resource=SHOP, session=SESSION)
    failed = [check for check in explanation.checks if check.verdict == "FAILED"]
    console.print(f"of {len(explanation.checks)} checks {len(failed)} failed:")
    for check in failed:
        console.print(f"        {check.code}: {check.message}; to change that: {check.remedy}\n")


def _describe(story: governance_pb2.DescribeSessionResponse) -> None:
    console.rule("[bold]the whole story of the session")
    session, approval = story.session, story.approval
    rows = {
        "who": f"{session.identity}, owned by {story.identity.owner}",
        "for": f"task {story.task.id}, ticket {approval.ticket}",
        "consent": f"asked for by {approval.requested_by}, given by {approval.approved_by}",
        "opened": f"by {session.opened_by}, used {times_text(story.usage.count)}; {story.denied} denials",
        "end": "; ".join(one.message for one in story.end),
    }
    for name, text in rows.items():
        console.print(f"[bold]{name:8}[/] {text}")
    for change in story.changes:
        why = f": {change.reason}" if change.reason else ""
        console.print(f"[dim]         revision {change.revision}: {change.method} by {change.actor}{why}")
    console.print()


def _show_span(receiver: SpanReceiver, decision: Decision) -> bool:
    console.rule("[bold]the span of the first decision, as the collector got it")
    span = receiver.span_of_decision(decision.decision_id)
    console.print(f"{span.name}  trace {span.trace_id.hex()}  parent {span.parent_span_id.hex()}")
    for name, value in sorted(attributes(span).items()):
        console.print(f"        {name} = {value}", style="dim")
    linked = {attributes_of_link["pdp.link.kind"] for attributes_of_link in map(attributes, span.links)}
    for link in span.links:
        target = receiver.span(link.span_id.hex())
        told = attributes(link)
        where = f"span `{target.name}`" if target is not None else "a span not exported here"
        console.print(f"  link to {told['pdp.link.kind']} {told['pdp.link.id']}: trace {link.trace_id.hex()}")
        console.print(f"        {where}", style="dim")
    console.print()
    return {"approval", "session"} <= linked


def _journal(directory: Path) -> bool:
    console.rule("[bold]the journal")
    outcome = verify(directory)
    if not isinstance(outcome, Verified):
        console.print(f"[bold red]broken: {outcome}")
        return False
    console.print(f"{outcome.records} records in {outcome.segments} segment, the hash chain holds: {outcome.last_hash}")
    return True


if __name__ == "__main__":
    sys.exit(main())
