"""Commands that need no sidecar, and what the others say when there is none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from cryptography import x509

from tests.certificates import Authority

ROOT = Path(__file__).parents[2]
STORY = ROOT / "policies" / "examples" / "release-job"
PDP = [sys.executable, "-c", "from pdp.cli.main import main; main()"]
OF_A_TERMINAL = ("COLUMNS", "FORCE_COLOR", "SESSIONPDP_TARGET", "SESSIONPDP_ADMIN_TARGET", "PDP_ADMIN_TOKEN")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OF_A_TERMINAL} | {"NO_COLOR": "1"}
QUESTION = ["--subject", "s", "--action", "a", "--resource", "t:i"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty directory with a short path, as sockets need."""
    directory = Path(tempfile.mkdtemp(prefix="pdp", dir="/tmp"))  # for its length
    yield directory
    shutil.rmtree(directory)


def run(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in the directory."""
    return subprocess.run(
        [*PDP, *arguments],
        cwd=folder,
        env=ENVIRONMENT | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", *QUESTION],
        ["explain", *QUESTION],
        ["watch", *QUESTION],
        ["permissions", "--subject", "s", "--session", "x"],
        ["export"],
        ["session", "show", "x"],
        ["task", "complete", "x"],
        ["admin", "whoami"],
        ["revoke", "session", "x", "--reason", "y"],
    ],
)
def test_nobody_there_is_said_with_what_to_start(folder: Path, arguments: list[str]) -> None:
    """Two lines and exit code 2, no traceback."""
    done = run(folder, *arguments)
    socket = "pdp.sock" if arguments[0] in ("check", "explain", "watch", "permissions") else "admin.sock"
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert error == f"error: no sidecar answers at `unix:{folder}/data/{socket}`"
    assert hint.startswith("hint: start one with `pdp serve`, or say where it is with ")


def test_scenarios_that_pass_are_a_line_each(folder: Path) -> None:
    """With exit code 0."""
    done = run(folder, "test", str(STORY))
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "passed  a release job that nobody closed  13 steps",
        "passed  a release job ends  22 steps",
        "",
        "2 scenarios: 2 passed, 0 failed",
    ]


def test_a_scenario_that_fails_shows_what_differs(folder: Path) -> None:
    """Where, which step, expected beside actual, and why; with exit code 1 and in the report too."""
    shutil.copytree(STORY, folder / "story")
    scenario = folder / "story" / "release.scenario.yaml"
    scenario.write_text(scenario.read_text().replace("expect: ACTION_OUT_OF_SCOPE", "expect: TASK_ENDED"))
    done = run(folder, "test", "story", "--filter", "ends", "--junit", "report.xml")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "failed  a release job ends",
        "  story/release.scenario.yaml:123",
        "  step 14 (eligible to delete is not entitled to delete now)",
        "    code  expected  TASK_ENDED",
        "          actual    ACTION_OUT_OF_SCOPE",
        "    because  ACTION_OUT_OF_SCOPE: action `deploy.delete` is outside session `session-release-7.4`",
        "",
        "1 scenario: 0 passed, 1 failed",
    ]
    assert ET.parse(folder / "report.xml").find(".//failure") is not None  # noqa: S314  # our own
    told = json.loads(run(folder, "test", "story", "--json").stdout)
    assert [one["passed"] for one in told["scenarios"]] == [True, False]


def test_a_command_that_is_refused_is_told_with_rule_and_remedy(folder: Path) -> None:
    """Who commanded what, at which line, which rule stands against it, and what would satisfy it."""
    shutil.copytree(STORY, folder / "story")
    scenario = folder / "story" / "forgotten.scenario.yaml"
    text = scenario.read_text().replace("by: change-manager", "by: release-manager")
    scenario.write_text(text.replace("{roles: [requester],", "{roles: [requester, approver],"))
    done = run(folder, "test", str(scenario))
    assert done.returncode == 1
    assert done.stdout.splitlines()[:7] == [
        "failed  a release job that nobody closed",
        f"  {scenario}:23",
        "  step 2 (release-manager commands approve)",
        "    outcome  expected  carried out",
        "             actual    refused",
        "    because  FOUR_EYES: `release-manager` requested approval `change-1842`",
        "    remedy   have somebody decide who has no part in it",
    ]


def test_scenarios_that_cannot_be_told_are_an_error(folder: Path) -> None:
    """A file that cannot be read, a path that is not there, nothing to run: each is exit code 2."""
    (folder / "bad.scenario.yaml").write_text("scenario: x\n")
    bad, gone, none = run(folder, "test", "."), run(folder, "test", "gone"), run(folder, "test", ".", "--filter", "zzz")
    assert [bad.returncode, gone.returncode, none.returncode] == [2, 2, 2]
    assert "bad.scenario.yaml:1:1: " in bad.stdout
    assert gone.stderr == "error: there is no `gone`\n"
    assert none.stderr == "error: no scenarios were found in `.` that `zzz` selects\n"


def test_good_policies_are_told_with_what_they_ask(folder: Path) -> None:
    """And the version of the set, by which a decision names it."""
    done = run(folder, "policy", "check", str(STORY))
    assert done.returncode == 0
    assert "independent approval (standard, ticket CHG-\\d{4,})" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("good 2 policies, version ")


def test_bad_policies_are_told_with_every_problem(folder: Path) -> None:
    """As file:line:column, with exit code 1."""
    (folder / "policies").mkdir()
    (folder / "policies" / "p.yaml").write_text("policy: p\nmatch: {action: [a]}\ndeny: [{name: x, cel: 1 +}]\n")
    done, told = run(folder, "policy", "check", "policies"), run(folder, "policy", "check", "policies", "--json")
    problems = json.loads(told.stdout)["problems"]
    assert (done.returncode, told.returncode) == (1, 1)
    assert done.stdout.splitlines()[-1] == f"{len(problems)} problems"
    assert {problem["line"] for problem in problems} == {2, 3}
    assert "policies/p.yaml:2:" in done.stdout


def test_a_bad_configuration_is_told_with_every_problem(folder: Path) -> None:
    """As file:line:column, and nothing is started."""
    (folder / "pdp.yaml").write_text("limits: {calls: 0}\npolicies: [none]\ndecisions: {address: '0.0.0.0:1'}\n")
    done = run(folder, "serve", "--config", "pdp.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert {line[:20] for line in done.stderr.splitlines()} == {
        "error: pdp.yaml:1:17",
        "error: pdp.yaml:2:11",
        "error: pdp.yaml:3:22",
    }
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--config", "gone.yaml"], "error: cannot read `gone.yaml`: no such file or directory\n"),
        (["--policies", "gone"], "error: policies: `gone` is not a directory\n"),
        (["--config", "x", "--data-dir", "y"], "error: `--config` says everything: leave out `--data-dir`"),
        (["--data-dir", "d" * 120], "error: decisions.address: `"),
    ],
)
def test_a_sidecar_that_cannot_start_says_why(folder: Path, arguments: list[str], error: str) -> None:
    """With exit code 2."""
    done = run(folder, "serve", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(error)


def test_a_sidecar_that_never_started_has_not_stopped(folder: Path) -> None:
    """Its log has no such line before the error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (folder / "pdp.yaml").write_text(f"telemetry: {{prometheus_port: {taken.getsockname()[1]}}}\n")
        done = run(folder, "serve", "--config", "pdp.yaml")
    assert (done.returncode, '"stopped"' in done.stdout) == (2, False)
    assert "error: " in done.stderr


def test_bad_policies_keep_a_sidecar_from_starting(folder: Path) -> None:
    """With the place of the problem; later, a bad change leaves the last good set."""
    (folder / "policies").mkdir()
    (folder / "policies" / "p.yaml").write_text("policy: p\nmatchh: {}\n")
    done = run(folder, "serve", "--policies", "policies")
    assert done.returncode == 2
    assert "error: policies/p.yaml:2:9: matchh: unknown key: did you mean `match`?\n" in done.stderr


def test_a_sidecar_says_what_to_do_next_and_stops_when_told(folder: Path) -> None:
    """SIGTERM lets it finish; its log is JSON when piped."""
    serving = subprocess.Popen(
        [*PDP, "serve", "--data-dir", "elsewhere"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    while "import" not in (line := next(serving.stderr)):
        pass
    assert line == "  give it facts  pdp import --data-dir elsewhere facts.yaml\n"
    serving.send_signal(signal.SIGTERM)
    log, _ = serving.communicate(timeout=30)
    assert serving.returncode == 0
    made, *events = [json.loads(line)["event"] for line in log.splitlines()]
    assert made.startswith("a key to sign the journal with was made: `")
    assert events == ["started", "stopped"]
    told = run(folder, "journal", "tail", "--data-dir", "elsewhere")
    assert [line.split()[3] for line in told.stdout.splitlines()] == ["started", "lapses", "stopped"]


def test_a_sidecar_behind_mutual_tls_is_asked_and_governed(folder: Path) -> None:
    """With an authority, a certificate and its key; without them it is as if nobody were there."""
    decisions, administration = (f"localhost:{free_port()}" for _ in range(2))
    authority, administrators = Authority(), Authority("the administrators' authority")
    certificate, key, client_ca = authority.server_files(folder)
    (folder / "administrators").mkdir()
    admin_ca = administrators.server_files(folder / "administrators")[2]
    for name, issuer in (("client", authority), ("admin", administrators)):
        own_key, own_certificate = issuer.issue([x509.UniformResourceIdentifier("spiffe://example.org/caller")])
        (folder / f"{name}.key").write_bytes(own_key)
        (folder / f"{name}.pem").write_bytes(own_certificate)
    tls = {"certificate": str(certificate), "key": str(key), "client_ca": str(client_ca)}
    doors = {
        "decisions": {"address": decisions, "tls": tls},
        "administration": {
            "address": administration,
            "tls": tls | {"client_ca": str(admin_ca)},
            "principals": {"inventory": {"roles": ["importer"], "certificates": ["spiffe://example.org/caller"]}},
        },
    }
    (folder / "pdp.yaml").write_text(json.dumps(doors))
    (folder / "tasks.yaml").write_text("tasks: [{id: t-1}]\n")
    shown = ["--ca", client_ca.name, "--cert", "client.pem", "--key", "client.key"]
    shown_to_admin = ["--ca", client_ca.name, "--cert", "admin.pem", "--key", "admin.key"]
    serving = subprocess.Popen(
        [*PDP, "serve", "--config", "pdp.yaml"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    assert next(serving.stderr) == "ready\n"
    asked = run(folder, "check", *QUESTION, "--target", decisions, *shown)
    governed = run(folder, "import", "tasks.yaml", "--admin", administration, *shown_to_admin)
    without = run(folder, "check", *QUESTION, "--target", decisions)
    serving.terminate()
    serving.communicate(timeout=30)
    assert asked.stdout.startswith("deny  CALLER_NOT_PERMITTED\n")
    assert governed.stdout.startswith("wrote 1 fact at revision 1\n")
    assert (without.returncode, without.stdout) == (2, "")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_journal_that_is_not_there_is_an_error(folder: Path) -> None:
    """Rather than an intact one without records."""
    done = run(folder, "journal", "verify")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: there is no journal in `data`")


def test_versions_are_told(folder: Path) -> None:
    """Of server, client and protocol."""
    told = json.loads(run(folder, "version", "--json").stdout)
    assert told["protocol"] == "sessionpdp.v1"
    assert {"server", "client"} < set(told)


def test_a_shell_can_complete_commands(folder: Path) -> None:
    """What `--install-completion` sets up asks in this way."""
    environment = {"_PDP_COMPLETE": "complete_bash", "COMP_WORDS": "pdp ex", "COMP_CWORD": "1"}
    assert run(folder, environment=environment).stdout.split() == ["explain", "export"]
