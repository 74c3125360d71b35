"""A release job ends, and its access with it: a real sidecar, asked over gRPC by the real client.

Starts `pdp serve` in a directory of its own, tells the story of `policies/examples/release-job` (with its times moved
to now), and shows each decision with its reasons, the span with its links, and the verified journal. Exits 1 if any
answer is not the one the story expects.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from msgspec.structs import replace
from rich.console import Console
from sessionpdp import PDP, Decision
from sessionpdp.v1 import facts_pb2, governance_pb2
from sessionpdp.v1.governance_pb2_grpc import GovernanceServiceStub

from demo.receiver import SpanReceiver, attributes
from pdp.core.model import AnyFact, Approval, Instant, Session
from pdp.core.wording import SECOND
from pdp.doors.facts_wire import message_of
from pdp.evidence.journal_reader import Verified, verify
from pdp.state.facts_file import parse_facts
from pdp.state.fields import parse_instant

STORY = Path(__file__).parent.parent / "policies" / "examples" / "release-job"
BEGIN = parse_instant("2026-03-02T09:00:00Z")
SUBJECT, SESSION = "spiffe://shop.example/deployer", "session-release-7.4"
APPROVAL_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The trace of the change-management system in which the change was approved."""
PIPELINE_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""The trace of the pipeline that opened the session."""
CALL_TRACE = "00-11111111111111111111111111111111-2222222222222222-01"
"""The trace of the deployment that asks."""

console = Console(highlight=False)


def main() -> int:
    """Tell the story; return 0 if every answer was as it should be."""
    with tempfile.TemporaryDirectory(prefix="pdp-") as directory, SpanReceiver() as receiver:
        server = _start(Path(directory), receiver.port)
        try:
            good = _tell(Path(directory), receiver)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(15)
        return 0 if _journal(Path(directory)) and good else 1


def _start(directory: Path, collector: int) -> subprocess.Popen[bytes]:
    config = directory / "pdp.yaml"
    config.write_text(
        f"data_dir: data\npolicies: ['{STORY}']\ntelemetry: {{otlp_endpoint: 'http://127.0.0.1:{collector}'}}\n"
    )
    console.rule("[bold]a sidecar starts")
    server = subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "pdp", "serve", "--config", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    socket = directory / "data" / "admin.sock"
    for _ in range(200):
        if socket.exists():
            console.print(f"[dim]pid {server.pid}, listening on {directory / 'data' / 'pdp.sock'}\n")
            return server
        if server.poll() is not None:
            break
        time.sleep(0.1)
    console.print((server.stderr.read() if server.stderr else b"").decode())
    message = "the sidecar did not start"
    raise RuntimeError(message)


def _tell(directory: Path, receiver: SpanReceiver) -> bool:
    target = f"unix:{directory / 'data' / 'pdp.sock'}"
    with grpc.insecure_channel(f"unix:{directory / 'data' / 'admin.sock'}") as channel, PDP(target, timeout=5) as pdp:
        governance = GovernanceServiceStub(channel)
        _write_facts(governance)
        console.rule("[bold]the release is under way")
        deploy = {"subject": SUBJECT, "session": SESSION, "action": "deploy.start", "traceparent": CALL_TRACE}
        shop, staging = "cluster:prod/shop/checkout", "cluster:staging/shop/checkout"
        allowed = pdp.check(resource=shop, **deploy)
        answers = [_show("deploy to production", allowed, "GRANTED")]
        answers.append(_show("deploy to staging", pdp.check(resource=staging, **deploy), "RESOURCE_OUT_OF_SCOPE"))
        watch = pdp.watch(resource=shop, **deploy)
        answers.append(_show("watch it, as a long-lived connection would", next(watch), "GRANTED"))
        console.rule("[bold]the release is completed")
        request = governance_pb2.CompleteTaskRequest(task_id="release-7.4", reason="7.4 is out")
        governance.CompleteTask(request, timeout=5)
        answers.append(_show("the watch hears of it, unasked", next(watch), "TASK_ENDED"))
        denied = pdp.check(resource=shop, **deploy)
        answers.append(_show("deploy once more", denied, "TASK_ENDED"))
        _explain(pdp, deploy, shop)
    return all(answers) and _show_span(receiver, allowed)


def _write_facts(governance: GovernanceServiceStub) -> None:
    """Write the story's facts, each where it would come from: the approval and the session in traces of their own."""
    facts = [_moved(fact) for fact in parse_facts((STORY / "facts.yaml").read_text(), "facts.yaml")]
    groups = {
        "": [fact for fact in facts if not isinstance(fact, Approval | Session)],
        APPROVAL_TRACE: [fact for fact in facts if isinstance(fact, Approval)],
        PIPELINE_TRACE: [fact for fact in facts if isinstance(fact, Session)],
    }
    for trace, group in groups.items():
        messages: list[facts_pb2.Fact] = [message_of(fact) for fact in group]
        request = governance_pb2.ApplyFactsRequest(facts=messages, reason="the release-job story")
        revision = governance.ApplyFacts(
            request, timeout=5, metadata=[("traceparent", trace)] if trace else []
        ).revision
        for fact in group:
            console.print(f"[dim]revision {revision}: {type(fact).__name__.lower()} {fact.id}")
    console.print()


def _moved(fact: AnyFact) -> AnyFact:
    """Return the fact with its times moved so that the story begins a minute ago."""
    shift = time.time_ns() - 60 * SECOND - BEGIN
    times = ("not_before", "expires_at", "certified_until")
    given = {name: getattr(fact, name) for name in times if getattr(fact, name, None) is not None}
    return replace(fact, **{name: Instant(instant + shift) for name, instant in given.items()})


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


def _explain(pdp: PDP, deploy: dict[str, str], resource: str) -> None:
    explanation = pdp.explain(resource=resource, **deploy)
    failed = [check for check in explanation.checks if check.verdict == "FAILED"]
    console.print(f"of {len(explanation.checks)} checks {len(failed)} failed:")
    for check in failed:
        console.print(f"        {check.code}: {check.message}; to change that: {check.remedy}\n")


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
    outcome = verify(directory / "data" / "journal")
    if not isinstance(outcome, Verified):
        console.print(f"[bold red]broken: {outcome}")
        return False
    console.print(f"{outcome.records} records in {outcome.segments} segment, the hash chain holds: {outcome.last_hash}")
    return True


if __name__ == "__main__":
    sys.exit(main())
