"""Access from its first request to its review, told by the command line alone, to a sidecar that knows its people."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pdp.cli.main import main
from pdp.governance.tokens import hash_of
from tests.integration.serving import ServerProcess

ROLES = {
    "release-manager": ["requester"],
    "change-manager": ["requester", "approver"],
    "release-board": ["approver"],
    "security": ["operator"],
    "head-of-payments": ["operator", "reviewer"],
    "auditor": ["auditor"],
    "auditing-reviewer": ["reviewer"],
    "inventory": ["importer"],
}
POLICY = r"""
policy: production-deployments
match: {actions: ["deploy.*"], resources: ["cluster:prod/**"]}
require:
  approval: {kinds: [standard, break_glass], ticket: 'CHG-\d{4,}|INC-\d+', independent: true}
limit: {session_ttl: 45m, break_glass_ttl: 30m, review_within: 4h, delegation_depth: 1}
"""
SCOPE = "--action 'deploy.*' --resource 'cluster:prod/shop/**'"


class Said(NamedTuple):
    """What a command has said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        """The first line of the result."""
        return self.out.partition("\n")[0]

    def json(self) -> dict[str, object]:
        """Return the result for machines."""
        document: dict[str, object] = json.loads(self.out)
        return document

    def rows(self) -> dict[str, str]:
        """Return the labelled values of a result."""
        pairs = (line.strip().split("  ", 1) for line in self.out.splitlines() if "  " in line.strip())
        return {label: value.strip() for label, value in pairs}


Say = Callable[..., Said]


def token_of(principal: str) -> str:
    """Return the principal's token."""
    return f"pdpadm_{principal}"


@pytest.fixture(scope="module")
def sidecar() -> Iterator[ServerProcess]:
    """Return a sidecar in a process of its own, with a policy and principals."""
    # Sockets need short paths, which pytest's own directories are not.
    home = Path(tempfile.mkdtemp(prefix="pdp", dir="/tmp"))  # for its length
    (home / "policies").mkdir()
    (home / "policies" / "policy.yaml").write_text(POLICY)
    principals = {
        name: {"roles": roles, "identities": ["**"], "tokens": [hash_of(token_of(name))]}
        for name, roles in ROLES.items()
    }
    process = ServerProcess(home, {"policies": [str(home / "policies")], "administration": {"principals": principals}})
    asyncio.run(process.start())
    yield process
    process.close()
    shutil.rmtree(home)


@pytest.fixture
def say(sidecar: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what runs a command as a principal: `say("security", "identity show x")`."""
    monkeypatch.setenv("SESSIONPDP_TARGET", sidecar.decision_target)
    monkeypatch.setenv("SESSIONPDP_ADMIN_TARGET", sidecar.admin_target)
    for name in ("COLUMNS", "FORCE_COLOR", "PDP_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(principal: str, line: str, *, well: bool = True) -> Said:
        if principal:
            monkeypatch.setenv("PDP_ADMIN_TOKEN", token_of(principal))
        with pytest.raises(SystemExit) as exit_:
            main([*shlex.split(line), "--timeout", "20"])
        code = exit_.value.code
        said = Said(code if isinstance(code, int) else -1, *capsys.readouterr())
        assert not well or said.code == 0, said
        return said

    return run


@pytest.fixture
def story(request: pytest.FixtureRequest) -> str:
    """Return a name that no other test's facts have."""
    name: str = request.node.name
    return name.removeprefix("test_").replace("_", "-")


@pytest.fixture
def eligible(say: Say, story: str) -> str:
    """Return an identity with a certified entitlement `e-<story>` and an open task `t-<story>`."""
    identity = f"spiffe://shop.example/{story}"
    say("security", f"identity register {identity} --kind workload --owner team-platform")
    say("security", f"entitlement grant e-{story} --identity {identity} {SCOPE} --max-session-ttl 2h")
    say("head-of-payments", f"entitlement certify e-{story} --until +90d")
    say("release-manager", f"task open t-{story}")
    return identity


@pytest.fixture
def approved(say: Say, story: str, eligible: str) -> str:
    """Return the identity, with an approval `a-<story>` besides."""
    ask = f"approval request a-{story} --identity {eligible} {SCOPE} --ticket CHG-1842 --justification 'release 7.4'"
    say("release-manager", ask)
    say("change-manager", f"approval approve a-{story}")
    return eligible


def opening(story: str, identity: str, *, ttl: str = "30m") -> str:
    """Return the command that opens the story's session."""
    rests_on = f"--identity {identity} --task t-{story} --entitlement e-{story} --approval a-{story}"
    return f"session open s-{story} {rests_on} {SCOPE} --ttl {ttl}"


def question(story: str, identity: str, action: str = "deploy.start") -> str:
    """Return the command that asks whether the story's session allows something."""
    return f"check --subject {identity} --session s-{story} --action {action} --resource cluster:prod/shop/checkout"


def test_access_begins_just_in_time_and_ends(say: Say, story: str, approved: str) -> None:
    """Opened, used, narrowed, renewed and closed; each is in force when its command returns."""
    opened = say("release-manager", opening(story, approved) + " --reason 'release 7.4'")
    assert opened.first.startswith(f"opened session `s-{story}` at revision ")
    assert opened.rows()["opened by"] == "release-manager"
    assert say("", question(story, approved)).first == "allow GRANTED"
    assert say("", question(story, approved, "deploy.stop")).first == "allow GRANTED"

    narrowed = say("release-manager", f"session narrow s-{story} --action deploy.start --max-uses 5")
    assert (narrowed.rows()["actions"], narrowed.rows()["max uses"]) == ("deploy.start", "5")
    assert say("", question(story, approved, "deploy.stop"), well=False).first == "deny  ACTION_OUT_OF_SCOPE"

    renewed = say("release-manager", f"session renew s-{story} --ttl 40m")
    assert renewed.rows()["expires at"] > opened.rows()["expires at"]
    closed = say("release-manager", f"session close s-{story}")
    assert closed.out.splitlines()[1] == "every session delegated from it has ended too"
    assert say("", question(story, approved), well=False).first == "deny  SESSION_CLOSED"


def test_a_session_is_told_whole(say: Say, story: str, approved: str) -> None:
    """Who, owner, task, ticket, approval, uses, decisions, changes, and why it has ended."""
    say("release-manager", opening(story, approved) + " --reason 'as planned'")
    say("", question(story, approved))
    live = say("auditor", f"session show s-{story}")
    assert live.first == f"live  session `s-{story}`"
    told = live.rows()
    expected = {
        "identity": approved,
        "owner": "team-platform",
        "task": f"t-{story}",
        "ticket": "CHG-1842",
        "requested by": "release-manager",
        "because": "release 7.4",
        "opened by": "release-manager",
        "decisions": "1 allowed, 0 denied",
    }
    assert {label: told[label] for label in expected} == expected
    assert told["approved by"].startswith("change-manager at ")
    assert told["used"].startswith("once, last ")
    assert "OpenSession by release-manager  (as planned)" in live.out
    assert "allow GRANTED  deploy.start cluster:prod/shop/checkout" in live.out

    say("security", f"revoke approval a-{story} --reason INC-9 --id r-{story}")
    ended = say("auditor", f"session show s-{story}")
    assert ended.first == f"ended session `s-{story}`"
    assert ended.out.splitlines()[1].strip().startswith("APPROVAL_REVOKED  ")
    assert ended.rows()["revocations"].endswith(f"in force  approval a-{story} by security: INC-9")
    assert [one["rule"] for one in say("auditor", f"session show s-{story} --json").json()["end"]] == [  # type: ignore[attr-defined]
        "APPROVAL_REVOKED"
    ]


def test_nobody_approves_what_they_requested(say: Say, story: str, eligible: str) -> None:
    """The rule is named, with what would satisfy it; somebody else can."""
    ask = f"approval request a-{story} --identity {eligible} {SCOPE} --ticket CHG-1842 --justification x"
    say("change-manager", ask)
    refused = say("change-manager", f"approval approve a-{story}", well=False)
    error, hint = refused.err.splitlines()
    assert (refused.code, refused.out) == (2, "")
    assert error.startswith("error: FOUR_EYES: `change-manager` ")
    assert hint.startswith("hint: ")
    approved = say("release-board", f"approval approve a-{story}")
    assert approved.rows()["approved by"] == "release-board"


def test_nobody_certifies_what_they_granted(say: Say, story: str) -> None:
    """Nor is anything allowed under it until somebody else has."""
    identity = f"spiffe://shop.example/{story}"
    say("security", f"identity register {identity} --kind ai_agent --owner team-platform")
    granted = say("head-of-payments", f"entitlement grant e-{story} --identity {identity} {SCOPE}")
    assert granted.out.splitlines()[1] == "somebody else must certify it: `pdp entitlement certify`"
    refused = say("head-of-payments", f"entitlement certify e-{story} --until +90d", well=False)
    assert refused.err.startswith("error: FOUR_EYES: ")


def test_a_dry_run_tells_and_writes_nothing(say: Say, story: str, approved: str) -> None:
    """What would be written, or the very refusal."""
    before = say("auditor", "export").out
    dry = say("release-manager", opening(story, approved) + " --dry-run")
    assert dry.first == f"good session `s-{story}` would be opened; nothing was written"
    assert dry.rows()["approval"] == f"a-{story}"
    refused = say("release-manager", opening(story, approved, ttl="3h") + " --dry-run", well=False)
    assert refused.err.startswith("error: POLICY_LIMIT: ")
    assert refused == say("release-manager", opening(story, approved, ttl="3h"), well=False)._replace(err=refused.err)
    assert say("auditor", "export").out == before


def test_a_command_that_is_sent_again_is_carried_out_once(say: Say, story: str, approved: str) -> None:
    """Under the same key; which then is nobody else's to use for something else."""
    line = opening(story, approved) + f" --idempotency-key k-{story} --json"
    first, again = say("release-manager", line).json(), say("release-manager", line).json()
    assert (first["already_done"], again["already_done"]) == (False, True)
    assert (again["session_id"], again["revision"]) == (f"s-{story}", first["revision"])
    told = say("release-manager", line.removesuffix(" --json"))
    assert told.first.endswith(f" at revision {first['revision']}, when this was sent before")
    other = say("release-manager", f"session close s-{story} --idempotency-key k-{story}", well=False)
    assert other.err.startswith("error: KEY_REUSED: ")


def test_an_emergency_is_taken_and_reviewed(say: Say, story: str, eligible: str) -> None:
    """It comes up for review, and is decided by somebody who had no part in it."""
    taken = say(
        "release-manager",
        f"break-glass take b-{story} --identity {eligible} --entitlement e-{story} --incident INC-7 {SCOPE} "
        "--ttl 10m --reason 'checkout is down'",
    )
    assert taken.first.startswith(f"took break-glass `b-{story}` at revision ")
    assert "1  session  " in taken.out
    ask = f"check --subject {eligible} --session b-{story} --action deploy.start --resource cluster:prod/shop/checkout"
    assert say("", ask).first == "allow GRANTED_BREAK_GLASS"

    listed = say("head-of-payments", "review list --cause break_glass").out
    assert f"approval:b-{story}" in listed
    shown = say("head-of-payments", f"review show approval:b-{story}")
    assert shown.rows()["why"] == "break glass"
    assert f"pdp review decide approval:b-{story} keep --revision " in shown.out
    revision = say("head-of-payments", f"review show approval:b-{story} --json").json()["review"]["fact"]["revision"]  # type: ignore[index]
    decided = say("head-of-payments", f"review decide approval:b-{story} keep --revision {revision} --reason right")
    assert decided.first.startswith(f"kept approval `b-{story}` at revision ")
    assert decided.rows()["reviewed by"] == "head-of-payments"
    assert f"approval:b-{story}" not in say("head-of-payments", "review list --cause break_glass").out


def test_a_session_is_delegated_and_dies_with_its_parent(say: Say, story: str, approved: str) -> None:
    """The child is within the parent, whose end is its own."""
    say("release-manager", opening(story, approved))
    child = f"spiffe://shop.example/{story}/child"
    say("security", f"identity register {child} --kind workload --owner team-platform")
    say("security", f"entitlement grant c-{story} --identity {child} {SCOPE}")
    say("head-of-payments", f"entitlement certify c-{story} --until +90d")
    delegating = f"session delegate s-{story} --id d-{story} --identity {child} --entitlement c-{story}"
    lent = say("release-manager", f"{delegating} --approval a-{story} --action deploy.start", well=False)
    assert lent.err.startswith("error: APPROVAL_UNKNOWN: ")
    ask = f"approval request b-{story} --identity {child} {SCOPE} --ticket CHG-1843 --justification x"
    say("release-manager", ask)
    say("change-manager", f"approval approve b-{story}")
    delegated = say("release-manager", f"{delegating} --approval b-{story} --action deploy.start --ttl 5m")
    assert delegated.first.startswith(f"delegated session `d-{story}` at revision ")
    shown = say("auditor", f"session show d-{story}")
    assert shown.rows()["delegated by"] == f"s-{story} of {approved}"
    say("release-manager", f"session close s-{story}")
    assert say("auditor", f"session show d-{story} --json").json()["end"][0]["rule"] == "PARENT_SESSION_ENDED"  # type: ignore[index]


def test_who_leaves_is_taken_over_and_what_is_retired_ends(say: Say, story: str) -> None:
    """Unowned identities are listed until somebody answers for them."""
    identity = f"spiffe://shop.example/{story}"
    say("security", f"identity register {identity} --kind workload --owner o-{story}")
    say("security", f"revoke owner o-{story} --reason leaving --id r-{story}")
    assert identity in say("auditor", "identity unowned").out
    say("security", f"identity owner {identity} --owner team-delivery")
    assert identity not in say("auditor", "identity unowned").out
    assert say("security", f"identity suspend {identity} --reason why").rows()["state"] == "suspended"
    assert say("security", f"identity reinstate {identity}").rows()["state"] == "active"
    retired = say("security", f"identity retire {identity} --credential jti-1 --reason 'replaced'")
    assert retired.rows()["state"] == "retired"
    assert f"1  revocation  {identity}/credential/jti-1" in retired.out
    assert say("auditor", f"identity show {identity}").rows()["state"] == "retired"


def test_a_revocation_is_lifted_by_somebody_else(say: Say, story: str) -> None:
    """And is listed until then."""
    say("security", f"revoke task t-{story} --reason INC-7 --id r-{story} --effective-at +1h")
    listed = say("auditor", f"revocation list --target task --target-id t-{story}").out.splitlines()[1]
    assert listed.split()[:4] == [f"r-{story}", "scheduled", "task", f"t-{story}"]
    refused = say("security", f"revocation lift r-{story} --reason over", well=False)
    assert refused.err.startswith("error: FOUR_EYES: ")
    lifted = say("head-of-payments", f"revocation lift r-{story} --reason over")
    assert lifted.first.startswith(f"lifted revocation `r-{story}` at revision ")
    assert say("auditor", f"revocation list --target-id t-{story}").out == "nothing is revoked\n"


def test_a_role_is_needed_and_whoami_tells_which_one_has(say: Say, story: str) -> None:
    """Denied by default, and said so."""
    refused = say("auditor", f"task open t-{story}", well=False)
    assert refused.err.splitlines() == [
        "error: `auditor` has no role that permits `OpenTask`; `requester`, `operator` would",
        "hint: `pdp admin whoami` tells who you are and what your roles permit",
    ]
    whoami = say("change-manager", "admin whoami --json").json()
    assert (whoami["name"], whoami["roles"]) == ("change-manager", ["approver", "requester"])
    assert say("auditor", "admin whoami").rows()["roles"] == "auditor"


def test_an_unknown_token_is_nobodys(say: Say) -> None:
    """It is no fallback to whoever reaches the socket."""
    refused = say("stranger", "admin whoami", well=False)
    assert refused.code == 2
    assert refused.err.splitlines()[1] == (
        "hint: `--token-file` names the file with your token; `$PDP_ADMIN_TOKEN` is the token itself"
    )


def test_an_import_is_sent_again_safely(say: Say, story: str, tmp_path: Path) -> None:
    """Under the same key it is written once."""
    file = tmp_path / "facts.yaml"
    file.write_text(f"tasks: [{{id: t-{story}, owner: team-platform}}]\n")
    line = f"import {file} --idempotency-key k-{story} --json"
    first, again = say("inventory", line).json(), say("inventory", line).json()
    assert (first["already_done"], again["already_done"]) == (False, True)
    assert first["revision"] == again["revision"]
    cancelled = say("release-manager", f"task cancel t-{story}", well=False)
    assert cancelled.err.startswith("error: NOT_YOURS: ")
    assert say("security", f"task cancel t-{story} --reason postponed").rows()["state"] == "cancelled"


def test_what_waits_for_consent_is_found(say: Say, story: str, eligible: str) -> None:
    """By its state; so are sessions, tasks, identities and entitlements, by whoever has any role."""
    ask = f"approval request a-{story} --identity {eligible} {SCOPE} --ticket CHG-1842 --justification x"
    say("release-manager", ask)
    assert f"a-{story}" in say("change-manager", "approval list --state pending").out
    say("change-manager", f"approval approve a-{story}")
    assert f"a-{story}" not in say("change-manager", "approval list --state pending").out
    say("release-manager", opening(story, eligible))
    listed = say("auditor", "session list --state open").out.splitlines()
    assert [line.split()[:3] for line in listed if f"s-{story}" in line] == [[f"s-{story}", "open", eligible]]
    assert f"e-{story}" in say("auditor", "entitlement list").out
    assert eligible in say("auditor", "identity list --state active").out
    tasks: Any = say("auditor", "task list --json").json()["tasks"]
    assert f"t-{story}" in [one["id"] for one in tasks]


def test_a_review_says_what_has_become_of_it(say: Say, story: str, eligible: str) -> None:
    """Kept until when, narrowed to what, or removed."""
    reviewed = f"entitlement:e-{story}"
    reviewer = "auditing-reviewer"
    kept = say(reviewer, f"review decide {reviewed} keep --until +90d")
    assert kept.first.startswith(f"kept entitlement `e-{story}` at revision ")
    assert kept.out.splitlines()[1].startswith("kept until 20")
    scope = "--action deploy.start --resource cluster:prod/shop/checkout"
    narrowed = say(reviewer, f"review decide {reviewed} narrow --until +30d {scope}")
    assert narrowed.out.splitlines()[1].startswith(
        "narrowed to deploy.start on cluster:prod/shop/checkout; kept until 20"
    )
    removed = say(reviewer, f"review decide {reviewed} remove")
    assert removed.first.startswith(f"removed entitlement `e-{story}` at revision ")


def test_what_a_review_lacks_is_said_before_anybody_is_asked(say: Say, story: str) -> None:
    """A date to certify until, and of which kind it is."""
    undated = say("auditor", f"review decide entitlement:e-{story} keep", well=False)
    assert undated.err.startswith("error: `--until` is missing\nhint: ")
    for line in (f"review show e-{story}", f"review decide e-{story} remove"):
        assert say("auditor", line, well=False).err.endswith(f"hint: write `entitlement:e-{story}`\n")
