"""Every command that asks or governs, as a process, against a sidecar that `pdp serve` started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pdp.core.model import Session
from pdp.state.facts_file import parse_facts

PDP = [sys.executable, "-c", "from pdp.cli.main import main; main()"]
OF_A_TERMINAL = ("COLUMNS", "FORCE_COLOR", "SESSIONPDP_TARGET", "SESSIONPDP_ADMIN_TARGET", "PDP_ADMIN_TOKEN")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OF_A_TERMINAL} | {"NO_COLOR": "1"}
DEPLOYER = "spiffe://shop.example/deployer"
RESOURCE = "cluster:prod/shop/checkout"
POLICY = """
policy: production-deployments
match: {actions: ["deploy.*"], resources: ["cluster:prod/**"]}
require:
  approval: {kinds: [standard], ticket: 'CHG-\\d{4,}', independent: true}
deny: [{name: change freeze, cel: 'has(context.freeze) && context.freeze == true'}]
obligations: [{type: annotate_deployment, parameters: {with: ticket}}]
"""
FACTS = """
identities: [{{id: "spiffe://shop.example/deployer", kind: workload, owner: team-platform}}]
entitlements:
  - {{id: deploy-shop, identity: "spiffe://shop.example/deployer", actions: ["deploy.*"],
     resources: ["cluster:prod/shop/**"], certified_by: approver.reyes, certified_until: "{later}"}}
approvals:
  - {{id: change-1842, state: approved, ticket: CHG-1842, requested_by: requester.wei, approved_by: approver.reyes,
     actions: ["deploy.*"], resources: ["cluster:prod/shop/**"], not_before: "{now}", expires_at: "{later}"}}
tasks: [{tasks}]
sessions:
"""
SESSION = """
  - {{id: s-{name}, identity: "spiffe://shop.example/deployer", task: t-{name}, entitlement: deploy-shop,
     approval: change-1842, actions: [deploy.start], resources: ["cluster:prod/shop/**"], not_before: "{now}",
     expires_at: "{later}"}}
"""
STORIES = ("asked", "revoked", "completed", "closed", "watched")


def facts_text() -> str:
    """Return facts with a session for each story, so that no test disturbs another."""
    now = datetime.now(UTC)
    times = {"now": f"{now:%Y-%m-%dT%H:%M:%SZ}", "later": f"{now + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"}
    tasks = ", ".join(f"{{id: t-{name}, owner: requester.wei}}" for name in STORIES)
    return FACTS.format(tasks=tasks, **times) + "".join(SESSION.format(name=name, **times) for name in STORIES)


class Home:
    """A directory with a sidecar in it, and how to run commands there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*PDP, *arguments],
            cwd=self.directory,
            env=ENVIRONMENT | dict(environment or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ask(self, verb: str, story: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run a command that asks whether the story's session may deploy."""
        return self.run(verb, *question(story), *more)


def question(story: str) -> list[str]:
    """Return the options of the story's question."""
    asked = {"--subject": DEPLOYER, "--action": "deploy.start", "--resource": RESOURCE, "--session": f"s-{story}"}
    return [word for pair in asked.items() for word in pair]


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """Return a home whose sidecar has facts and a policy."""
    # Sockets need short paths, which pytest's own directories are not.
    directory = Path(tempfile.mkdtemp(prefix="pdp", dir="/tmp"))  # for its length
    (directory / "policies").mkdir()
    (directory / "policies" / "policy.yaml").write_text(POLICY)
    (directory / "facts.yaml").write_text(facts_text())
    log = (directory / "log").open("w")
    serving = subprocess.Popen(
        [*PDP, "serve", "--policies", "policies"],
        cwd=directory,
        env=ENVIRONMENT,
        stdout=log,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    assert next(serving.stderr) == "ready\n"
    home = Home(directory)
    imported = home.run("import", "facts.yaml", "--reason", "the tests")
    assert imported.returncode == 0, imported.stderr
    yield home
    serving.terminate()
    assert serving.wait(30) == 0
    serving.stderr.close()
    log.close()
    shutil.rmtree(directory)


def test_an_allow_says_why_by_which_facts_and_until_when(home: Home) -> None:
    """The whole answer, plain when piped, with exit code 0."""
    done = home.ask("check", "asked")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[:10] == [
        "allow GRANTED",
        "      session `s-asked` grants it for task `t-asked` and approval `change-1842`",
        "",
        f"identity     {DEPLOYER}",
        "owner        team-platform",
        "session      s-asked",
        "task         t-asked",
        "entitlement  deploy-shop",
        "approval     change-1842, ticket CHG-1842",
        "policies     baseline, production-deployments",
    ]
    assert lines[10] == 'obligations  annotate_deployment {"with": "ticket"}'
    assert lines[11].startswith("valid until  ")
    assert ", in 1h" in lines[11]
    assert lines[13].startswith("decision ")


def test_a_deny_says_every_reason(home: Home) -> None:
    """First by precedence, with exit code 1."""
    done = home.ask("check", "asked", "--context", "freeze=true", "--action", "deploy.stop")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:4] == [
        "deny  ACTION_OUT_OF_SCOPE",
        "      action `deploy.stop` is outside session `s-asked`",
        "also  POLICY_DENIED",
        "      policy `production-deployments` denies: change freeze",
    ]


def test_a_machine_gets_one_json_object(home: Home) -> None:
    """By the names of the contract, every member always there."""
    allow = json.loads(home.ask("check", "asked", "--json").stdout)
    deny = json.loads(home.ask("check", "unheard-of", "--json").stdout)
    assert (allow["outcome"], allow["code"], allow["ticket"]) == ("allow", "GRANTED", "CHG-1842")
    assert (deny["outcome"], deny["code"], deny["valid_until"]) == ("deny", "SESSION_UNKNOWN", None)
    assert set(allow) == set(deny)


def test_a_request_is_read_as_json_too(home: Home) -> None:
    """Shaped as in AuthZEN, from standard input, with options on top."""
    request = {
        "subject": {"type": "workload", "id": DEPLOYER},
        "action": {"name": "deploy.start"},
        "resource": {"type": "cluster", "id": "prod/shop/checkout"},
        "session_id": "s-asked",
    }
    assert home.run("check", "-", stdin=json.dumps(request)).returncode == 0
    denied = home.run("check", "-", "--context", "freeze=true", stdin=json.dumps(request))
    assert denied.stdout.startswith("deny  POLICY_DENIED\n")


def test_a_field_that_cannot_be_is_named(home: Home) -> None:
    """In one line, with exit code 2."""
    done = home.ask("check", "asked", "--resource", "cluster:" + "x" * 5000)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the request was refused: resource")
    assert len(done.stderr.splitlines()) == 1


def test_an_explanation_shows_what_failed_and_what_would_change_it(home: Home) -> None:
    """Groups that passed are one line each; `--all` has every row."""
    brief, whole = home.ask("explain", "unheard-of"), home.ask("explain", "unheard-of", "--all")
    assert brief.returncode == 1
    assert "             failed       SESSION_UNKNOWN\n" in brief.stdout
    assert "to change it: " in brief.stdout
    assert "service      passed       3 checks" in brief.stdout
    assert len(whole.stdout.splitlines()) > len(brief.stdout.splitlines()) * 2


def test_an_explanation_is_json_too(home: Home) -> None:
    """The decision and the rows."""
    explained = json.loads(home.ask("explain", "asked", "--json").stdout)
    assert explained["decision"]["outcome"] == "allow"
    assert {row["verdict"] for row in explained["checks"]} == {"passed"}


def test_permissions_are_pairs_with_what_is_still_asked(home: Home) -> None:
    """Exit code 0 if there are any, else 1."""
    some = home.run("permissions", "--subject", DEPLOYER, "--session", "s-asked")
    none = home.run("permissions", "--subject", DEPLOYER, "--session", "s-none")
    assert (some.returncode, none.returncode) == (0, 1)
    assert "deploy.start  cluster:prod/shop/**  policy `production-deployments` denies: change freeze" in some.stdout
    assert "nothing is permitted\n  SESSION_UNKNOWN\n" in none.stdout
    listed = json.loads(home.run("permissions", "--subject", DEPLOYER, "--session", "s-asked", "--json").stdout)
    assert [one["action"] for one in listed["permissions"]] == ["deploy.start"]


def test_a_watch_tells_each_change_until_interrupted(home: Home) -> None:
    """Its exit code is that of the last line."""
    watching = subprocess.Popen(
        [*PDP, "watch", *question("watched")], cwd=home.directory, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    assert "  allow GRANTED  until " in next(watching.stdout)
    home.run("revoke", "session", "s-watched", "--reason", "the story goes so")
    assert "  deny  SESSION_REVOKED  session `s-watched` is revoked: the story goes so" in next(watching.stdout)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 1
    assert watching.stdout.read() == ""
    watching.stdout.close()


def test_a_watch_stops_after_so_many_lines(home: Home) -> None:
    """And its lines are JSON objects where that is asked for."""
    done = home.ask("watch", "asked", "--count", "1", "--json")
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "allow")


def test_a_revocation_is_in_force_at_the_next_check(home: Home) -> None:
    """And says its revision and id."""
    done = home.run("revoke", "session", "s-revoked", "--reason", "INC-7", "--source", "the tests", "--json")
    revoked = json.loads(done.stdout)
    assert (done.returncode, revoked["target_known"]) == (0, True)
    denied = home.ask("check", "revoked", "--at-least-revision", str(revoked["revision"]))
    assert denied.stdout.startswith("deny  SESSION_REVOKED\n      session `s-revoked` is revoked: INC-7\n")


def test_a_revocation_of_what_is_not_known_is_pointed_out(home: Home) -> None:
    """It stands all the same: the target may come later."""
    done = home.run("revoke", "session", "s-typo", "--reason", "INC-8", "--effective-at", "+1h")
    assert done.returncode == 0
    assert done.stdout.startswith("revoked session `s-typo` at revision ")
    assert done.stderr == "hint: no session `s-typo` is known; a revocation stands for the day there is one\n"


def test_a_time_that_is_none_is_refused_before_anything_is_sent(home: Home) -> None:
    """The message names the option."""
    done = home.run("revoke", "session", "s-asked", "--reason", "x", "--expires-at", "tomorrow")
    assert done.returncode == 2
    assert done.stderr == "error: `--expires-at`: `tomorrow` is not a time like `2026-03-01T09:00:00Z`\n"


def test_a_task_is_completed_once(home: Home) -> None:
    """Its sessions end with it; the second time says what is the matter."""
    first, second = home.run("task", "complete", "t-completed"), home.run("task", "complete", "t-completed")
    assert (first.returncode, second.returncode) == (0, 2)
    assert first.stdout.startswith("completed task `t-completed` at revision ")
    assert second.stderr.splitlines() == [
        "error: WRONG_STATE: task `t-completed` is completed already",
        "hint: open a new task",
    ]
    assert home.ask("check", "completed").stdout.startswith("deny  TASK_ENDED\n")


def test_a_session_is_closed(home: Home) -> None:
    """And one that is not known cannot be."""
    closed, unknown = home.run("session", "close", "s-closed"), home.run("session", "close", "s-none")
    assert closed.stdout.startswith("closed session `s-closed` at revision ")
    assert unknown.returncode == 2
    assert unknown.stderr.splitlines()[0] == "error: NOT_FOUND: session `s-none` is not known"
    assert home.ask("check", "closed").stdout.startswith("deny  SESSION_CLOSED\n")


def test_what_is_exported_can_be_imported(home: Home) -> None:
    """Page by page into YAML, which a dry run accepts whole."""
    exported = home.run("export", "--kind", "session", "--kind", "approval")
    facts = parse_facts(exported.stdout, "exported")
    assert [fact.id for fact in facts if isinstance(fact, Session)] == sorted(f"s-{name}" for name in STORIES)
    (home.directory / "exported.yaml").write_text(exported.stdout)
    again = home.run("import", "--dry-run", "exported.yaml")
    assert again.stdout.splitlines()[0] == "good 6 facts could be written; nothing was"
    named = json.loads(home.run("export", "--kind", "approval", "--json").stdout)
    assert [(fact["kind"], fact["id"]) for fact in named["facts"]] == [("approval", "change-1842")]


def test_an_import_says_every_problem_with_its_place(home: Home) -> None:
    """Of all files at once, and writes nothing."""
    (home.directory / "bad.yaml").write_text("tasks:\n- {id: t-new}\n- {id: t-new}\nsesions: []\n")
    done = home.run("import", "facts.yaml", "bad.yaml", "none.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: bad.yaml:3:8: tasks[1].id: task `t-new` is given twice, first on line 2",
        "error: bad.yaml:4:10: sesions: unknown key: did you mean `sessions`?",
        "error: none.yaml:1:1: cannot be read: no such file or directory",
        "hint: nothing was written",
    ]


def test_two_files_may_not_say_the_same(home: Home) -> None:
    """Which of them would count is not for us to guess."""
    (home.directory / "one.yaml").write_text("tasks: [{id: t-two}]\n")
    (home.directory / "two.yaml").write_text("tasks:\n- {id: t-two}\n")
    done = home.run("import", "one.yaml", "two.yaml")
    assert done.stderr.splitlines()[0] == "error: two.yaml:2:3: task `t-two` is given twice, first at one.yaml:1:9"


def test_an_import_beyond_the_bound_says_the_bound(home: Home) -> None:
    """One import is one message."""
    (home.directory / "many.yaml").write_text("tasks:\n" + "".join(f"- {{id: t-{i}}}\n" for i in range(10_001)))
    done = home.run("import", "many.yaml", "--timeout", "30")
    assert done.returncode == 2
    assert "between 1 and 10000 are taken" in done.stderr


def test_the_journal_is_told_and_verified(home: Home) -> None:
    """Decisions and changes as lines, or as they stand on disk."""
    home.ask("check", "asked")
    told = home.run("journal", "tail", "--after", "0").stdout
    assert f"allow   GRANTED  {DEPLOYER} deploy.start {RESOURCE}" in told
    assert "change  revision 1  put identity:" in told
    raw = home.run("journal", "tail", "--json", "-n", "2").stdout.splitlines()
    assert [json.loads(line)["v"] for line in raw] == [1, 1]
    verified = home.run("journal", "verify", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["intact"]) == (0, True)


def test_an_altered_journal_is_broken(home: Home) -> None:
    """Each place is named, with exit code 1."""
    home.ask("check", "asked")
    copy = home.directory / "copy"
    shutil.copytree(home.directory / "data" / "journal", copy / "journal")
    segment = copy / "journal" / "00000000000000000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"team-platform", b"team-platfrom", 1))
    done = home.run("journal", "verify", "--data-dir", "copy")
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith("broken in ")
    assert "00000000000000000001.jsonl:" in done.stdout
    shutil.rmtree(copy)


def test_a_journal_is_verified_with_a_key_that_is_trusted(home: Home) -> None:
    """That of somebody else did not make its seals; and what is no key is an error."""
    published, other = home.directory / "data" / "journal" / "signing.pub", home.directory / "other.pub"
    done = home.run("journal", "verify", "--key", str(published))
    assert (done.returncode, "sealed" in done.stdout) == (0, True)
    pem = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    other.write_bytes(pem)
    done = home.run("journal", "verify", "--key", "other.pub")
    assert done.returncode == 1
    assert "head.seal:1:" in done.stdout
    other.write_text("no key")
    assert home.run("journal", "verify", "--key", "other.pub").returncode == 2
    assert home.run("journal", "verify", "--key", "missing.pub").returncode == 2


def test_a_second_sidecar_cannot_have_the_same_data(home: Home) -> None:
    """It says who has it, and leaves the first alone."""
    done = home.run("serve")
    assert done.returncode == 2
    assert "is in use by process " in done.stderr
    assert home.ask("check", "asked").returncode == 0


def test_colour_is_for_terminals(home: Home) -> None:
    """Or for who insists."""
    coloured = {"NO_COLOR": "", "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}
    insisted = home.run("check", *question("asked"), environment=coloured)
    assert "\x1b[1;32mallow" in insisted.stdout
    assert "\x1b[" not in home.ask("check", "asked").stdout
