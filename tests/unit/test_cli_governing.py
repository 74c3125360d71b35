"""Commands that govern: their options, what is made of them, and what their errors say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import get_args

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from msgspec.structs import fields
from rich.console import Console
from rich.table import Table
from sessionpdp.v1 import facts_pb2, governance_pb2, reasons_pb2

from pdp.cli.connections import Door, administering, administration_of
from pdp.cli.fact_list_view import facts_view, identities_view, revocations_view
from pdp.cli.governing import approvals, entitlements, identities, reviews, revocations, sessions, tasks
from pdp.cli.governing.fields import OPTIONS, command_of
from pdp.cli.main import _ended
from pdp.cli.message_json import message_json
from pdp.cli.principal_view import token_text
from pdp.cli.refusals import refusal_of
from pdp.cli.review_view import reviews_view
from pdp.cli.trouble import CommandError
from pdp.cli.usage_view import times_text, usage_text
from pdp.core.model import (
    AnyFact,
    Approval,
    Duration,
    Entitlement,
    FactKind,
    Identity,
    IdentityKind,
    Instant,
    Revocation,
    RevocationTarget,
    Session,
    Task,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.core.wording import SECOND
from pdp.governance import commands as c
from pdp.governance.review_queue import ReviewCause
from pdp.governance.table import ROWS
from pdp.governance.tokens import hash_of
from pdp.settings import HashedToken, load

VERBS = (
    *identities.VERBS,
    *entitlements.VERBS,
    *approvals.VERBS,
    approvals.BREAK_GLASS,
    *tasks.VERBS,
    *sessions.VERBS,
    revocations.REVOKE,
    revocations.LIFT,
    reviews.DECIDE,
)
DOOR = Door("unix:/nowhere", "--admin", 1.0)


@grpc.Call.register
class Failed(grpc.RpcError):
    """A call that ended with an error."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: object) -> None:
        status = status_pb2.Status(code=code.value[0], message=message)
        for detail in details:
            status.details.append(any_pb2.Any())
            status.details[-1].Pack(detail)
        self._code, self._message = code, message
        self._trailing = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        return self._code

    def details(self) -> str:
        """Return the message."""
        return self._message

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """Return where the details travel."""
        return self._trailing


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    """Return what each of the sidecar's errors has."""
    return error_details_pb2.ErrorInfo(reason=reason, domain="sessionpdp", metadata=metadata)


def plain(renderable: object) -> list[str]:
    """Return the lines that are shown."""
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(renderable)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_every_command_has_one_verb_and_asks_for_a_reason_where_its_row_does() -> None:
    """What can be asked over the wire can be asked by people."""
    by_command = {verb.command: verb.needs_reason for verb in VERBS}
    assert by_command == {row.command: row.needs_reason for row in ROWS}
    assert len(by_command) == len(VERBS)


def test_the_table_of_options_has_every_field_and_no_other() -> None:
    """So that a new field cannot be forgotten, nor an old one linger."""
    assert set(OPTIONS) == {one.name for verb in VERBS for one in fields(verb.command)}


def test_other_help_is_for_fields_that_there_are() -> None:
    """A help for nothing is one that nobody reads."""
    strangers = [
        (verb.name, name) for verb in VERBS for name in verb.says if name not in verb.command.__struct_fields__
    ]
    assert strangers == []


def test_causes_of_reviews_are_those_there_are() -> None:
    """They are written out so that the queue need not be loaded for a help text."""
    assert set(get_args(reviews.Cause)) == set(ReviewCause)


def test_options_become_the_values_of_a_command() -> None:
    """Scopes, durations, instants and pairs, each as it is written."""
    given = {
        "identity": "agent",
        "task": "goal",
        "entitlement": "reports",
        "actions": ["rows.read", "rows.list"],
        "resources": ["database:prod/**"],
        "constraints": ["region=eu", "region=us", "rows=100"],
        "not_before": "2026-03-01T09:00:00Z",
        "ttl": "1h30m",
        "max_uses": 7,
        "approval": None,
    }
    assert command_of(c.OpenSession, given) == c.OpenSession(
        identity="agent",
        task="goal",
        entitlement="reports",
        actions=ActionScope(["rows.read", "rows.list"]),
        resources=ResourceScope(["database:prod/**"]),
        constraints={"region": ["eu", "us"], "rows": [100]},
        not_before=Instant(1_772_355_600 * SECOND),
        ttl=Duration(5400 * SECOND),
        max_uses=7,
    )


def test_a_family_and_its_labels_are_written_as_text() -> None:
    """A pattern is an identity's id, a label a pair."""
    labelled = {"id": "ci/**", "kind": IdentityKind.CI_JOB, "owner": "team-build", "labels": ["tier=build", "of=a=b"]}
    registered = c.RegisterIdentity(
        id="ci/**", kind=IdentityKind.CI_JOB, owner="team-build", labels={"tier": "build", "of": "a=b"}
    )
    granted = command_of(c.GrantEntitlement, {"identity": "ci/**", "actions": ["a"], "resources": ["t:**"]})
    assert command_of(c.RegisterIdentity, labelled) == registered
    assert granted.identity == IdentityScope(["ci/**"])


def test_a_time_can_be_said_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people do: `+90d`."""
    monkeypatch.setattr("time.time_ns", lambda: 1_000 * SECOND)
    certify = command_of(c.CertifyEntitlement, {"entitlement_id": "e", "until": "+1m"})
    assert certify.until == 1_060 * SECOND


def test_everything_that_cannot_be_read_is_said_at_once() -> None:
    """By the name of its option."""
    with pytest.raises(CommandError) as error:
        command_of(c.RenewSession, {"session_id": "s", "ttl": "2x"})
    assert error.value.messages == ("`--ttl`: `2x` is not a duration like `1h30m`, `90s` or `250ms`",)
    given = {"entitlement_id": "e", "actions": ["a..b"], "resources": ["database"], "max_session_ttl": "0s"}
    with pytest.raises(CommandError) as error:
        command_of(c.NarrowEntitlement, given)
    assert [message.partition(":")[0] for message in error.value.messages] == [
        "`--action`",
        "`--resource`",
        "`--max-session-ttl`",
    ]


def test_a_length_of_nothing_is_said_to_be_too_short() -> None:
    """For `0s` is well written."""
    with pytest.raises(CommandError) as error:
        command_of(c.RenewSession, {"session_id": "s", "ttl": "0s"})
    assert error.value.messages == ("`--ttl`: must be longer than 0s",)


def test_a_label_without_a_value_is_refused() -> None:
    """It has no other meaning that one could guess."""
    with pytest.raises(CommandError, match="`--label` must be `key=value`, got `tier`"):
        command_of(c.RegisterIdentity, {"id": "i", "labels": ["tier"]})


def test_a_label_that_is_given_twice_is_refused() -> None:
    """Which of them would count is not for us to guess."""
    with pytest.raises(CommandError, match="`--label`: a key is given twice"):
        command_of(c.RegisterIdentity, {"id": "i", "labels": ["tier=a", "tier=b"]})


def test_a_token_comes_from_a_file_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never from the command line, which others can read."""
    monkeypatch.setenv("PDP_ADMIN_TOKEN", "of-the-environment")
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    assert administration_of().token == os.environ["PDP_ADMIN_TOKEN"]
    assert administration_of(token_file=file).token == file.read_text().strip()
    assert "of-the-file" not in repr(administration_of(token_file=file))


@pytest.mark.parametrize(
    ("text", "message"),
    [("\n", "` is empty"), ("two words", "` is no token: one has neither blanks"), ("tokén", "` is no token")],
)
def test_a_file_without_a_token_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Nobody goes on as somebody else."""
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(CommandError) as error:
        administration_of(token_file=file)
    assert message in error.value.messages[0]


def test_the_variable_has_the_token_and_not_the_path_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one would be told that the token is unknown, and look for the fault elsewhere."""
    file = tmp_path / "change-manager.token"
    file.write_text("secret")
    monkeypatch.setenv("PDP_ADMIN_TOKEN", str(file))
    with pytest.raises(CommandError, match="is the path of a file; it must be the token itself"):
        administration_of()
    long = "x" * 5000
    monkeypatch.setenv("PDP_ADMIN_TOKEN", long)
    assert administration_of().token == long


def test_a_token_is_not_sent_in_plaintext_over_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens there would have it."""
    monkeypatch.setenv("PDP_ADMIN_TOKEN", "secret")
    with (
        pytest.raises(CommandError, match="a token is not sent to"),
        administering(administration_of(admin="pdp.shop.example:7000")),
    ):
        pass


def test_refusals_say_their_rules_and_what_would_satisfy_each() -> None:
    """The rule with the message; the remedy is the hint."""
    violation = error_details_pb2.PreconditionFailure.Violation
    failed = error_details_pb2.PreconditionFailure(
        violations=[
            violation(type="FOUR_EYES", description="`x` requested it; ask somebody else"),
            violation(type="GROUP_REQUIRED", description="`board` is asked for; `x` is not in it; ask one of `board`"),
        ]
    )
    metadata = info("CHANGE_REFUSED", rule="FOUR_EYES", remedy="ask somebody else", about="approval:a")
    error = refusal_of(
        Failed(grpc.StatusCode.FAILED_PRECONDITION, "`x` requested it; ask somebody else", metadata, failed), DOOR
    )
    assert error.messages == (
        "FOUR_EYES: `x` requested it",
        "GROUP_REQUIRED: `board` is asked for; `x` is not in it",
    )
    assert error.hints == ("ask somebody else", "ask one of `board`")


@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED", "`pdp admin whoami` tells who you are"),
        (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNAUTHENTICATED", "`--token-file` names the file with"),
    ],
)
def test_who_is_not_permitted_hears_what_helps(code: grpc.StatusCode, reason: str, hint: str) -> None:
    """The sidecar's own words, and where to look next."""
    error = refusal_of(Failed(code, "no role permits it", info(reason, roles="approver")), DOOR)
    assert error.messages == ("no role permits it",)
    assert error.hint.startswith(hint)


def test_the_lines_for_a_token_are_a_configuration(tmp_path: Path) -> None:
    """They can be pasted as they are, whatever the name is."""
    name, end = 'on-call: "engineer"', "2030-01-01T00:00:00Z"
    config = tmp_path / "pdp.yaml"
    config.write_text(token_text(name, ["requester", "operator"], hash_of("t"), end))
    principal = load(config).administration.principals[name]
    assert principal.roles == {"requester", "operator"}
    assert principal.tokens == [HashedToken(hash=hash_of("t"), expires_at=Instant(1_893_456_000 * SECOND))]
    config.write_text(token_text(name, [], hash_of("t"), ""))
    assert load(config).administration.principals[name].tokens == [hash_of("t")]


def test_messages_read_as_json_by_the_words_of_the_contract() -> None:
    """Reason codes as they are, other words in lower case, what is absent as null."""
    decision = governance_pb2.DecisionSummary(code=reasons_pb2.REASON_CODE_TASK_ENDED, action="a")
    assert message_json(decision) == {
        "decision_id": "",
        "at": None,
        "allowed": False,
        "code": "TASK_ENDED",
        "action": "a",
        "resource": "",
    }
    review = governance_pb2.Review(
        id="task:t",
        causes=[governance_pb2.REVIEW_CAUSE_UNUSED],
        fact=facts_pb2.Fact(task=facts_pb2.Task(id="t", state=facts_pb2.TASK_STATE_COMPLETED), revision=3),
    )
    told = message_json(review)
    assert (told["causes"], told["due"]) == (["unused"], None)
    assert told["fact"] == {"kind": "task", "id": "t", "revision": 3, "fact": {"state": "completed"}}
    assert json.loads(json.dumps(told)) == told


def test_lists_say_so_when_there_is_nothing_to_list() -> None:
    """An empty page would leave one wondering."""
    assert plain(identities_view([])) == ["every identity has an owner"]
    assert plain(revocations_view([])) == ["nothing is revoked"]
    assert plain(reviews_view([])) == ["nothing is due for review"]
    assert plain(facts_view(FactKind.TASK, [])) == ["there is no such task"]
    assert usage_text(governance_pb2.Usage()) == "never"


def test_one_use_is_not_one_times() -> None:
    """Where it is told, and in the demo."""
    assert [times_text(count) for count in (1, 2)] == ["once", "2 times"]


def test_a_list_of_revocations_says_which_are_in_force() -> None:
    """And which are not yet, or no more."""
    later = Instant(4_000_000_000 * SECOND)
    revoked = [
        Revocation(
            id=id_, target=RevocationTarget.TASK, target_id="t", reason="why", effective_at=begin, expires_at=end
        )
        for id_, begin, end in (
            ("now", Instant(0), None),
            ("soon", later, None),
            ("past", Instant(0), Instant(SECOND)),
        )
    ]
    table = revocations_view(revoked)
    assert isinstance(table, Table)
    assert [line.split()[:2] for line in plain(table)[1:]] == [["now", "in"], ["soon", "scheduled"], ["past", "over"]]


def test_an_identity_without_an_owner_is_listed_as_nobodys() -> None:
    """The word for what nobody answers for."""
    table = identities_view([Identity(id="stray", kind=IdentityKind.AI_AGENT)])
    assert plain(table)[1].split() == ["stray", "ai_agent", "active", "nobody"]


SCOPE = {"actions": ActionScope(["a", "b"]), "resources": ResourceScope(["t:x"])}
WINDOW = {"not_before": Instant(0), "expires_at": Instant(SECOND)}


@pytest.mark.parametrize(
    ("kind", "fact", "first"),
    [
        (FactKind.IDENTITY, Identity(id="x", kind=IdentityKind.AI_AGENT), ["x", "ai_agent", "active"]),
        (FactKind.ENTITLEMENT, Entitlement(id="x", identity=IdentityScope(["i", "j"]), **SCOPE), ["x", "i,", "j"]),
        (FactKind.APPROVAL, Approval(id="x", requested_by="y", **SCOPE, **WINDOW), ["x", "pending", "y"]),
        (FactKind.TASK, Task(id="x", owner="y"), ["x", "open", "y"]),
        (
            FactKind.SESSION,
            Session(id="x", identity="i", task="t", entitlement="e", **SCOPE, **WINDOW),
            ["x", "open", "i"],
        ),
    ],
)
def test_every_fact_of_a_kind_is_one_line_of_its_list(kind: FactKind, fact: AnyFact, first: list[str]) -> None:
    """By its id."""
    lines = plain(facts_view(kind, [fact]))
    assert (len(lines), lines[1].split()[:3]) == (2, first)


def test_several_errors_are_told_each_before_its_own_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """What helps against several in a row is said once."""
    _ended(["one", "two", "three"], ["ask", "ask", "wait"])
    assert capsys.readouterr().err.splitlines() == [
        "error: one",
        "error: two",
        "hint: ask",
        "error: three",
        "hint: wait",
    ]
