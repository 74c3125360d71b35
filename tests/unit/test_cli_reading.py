"""What the command line makes of what it is given, before anybody is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pdp.cli.connections import administration_of, decisions_of, unreachable
from pdp.cli.questions import Question, merged, what_of, whose_of
from pdp.cli.request_file import read_request
from pdp.cli.times import span_text, time_text, until_text
from pdp.cli.trouble import CommandError

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def test_context_values_are_typed_as_in_json() -> None:
    """Numbers, truth values, null and JSON are read as such; everything else is text."""
    words = [
        "ip=10.0.0.7",
        "rows=3",
        "share=0.5",
        "freeze=true",
        "team=null",
        'tags=["a", 1]',
        'version="1.10"',
        "n=NaN",
    ]
    expected = {
        "ip": "10.0.0.7",
        "rows": 3,
        "share": 0.5,
        "freeze": True,
        "team": None,
        "tags": ["a", 1],
        "version": "1.10",
        "n": "NaN",
    }
    assert whose_of(context=words) == {"context": expected}


def test_context_given_one_by_one_counts_over_json() -> None:
    """A single attribute corrects what a longer document says."""
    assert whose_of(context=["a=1"], context_json='{"a": 0, "b": {"c": 2}}') == {"context": {"a": 1, "b": {"c": 2}}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": ["rows"]}, "`--context` must be `key=value`, got `rows`"),
        ({"context": ["=3"]}, "`--context` must be `key=value`, got `=3`"),
        ({"context": ["a=1", "a=2"]}, "`--context a=…` is given twice"),
        ({"context_json": "[1]"}, "`--context-json` must be a JSON object"),
        ({"context_json": '{"a": NaN}'}, "`--context-json` is not JSON: `NaN` is not a value of JSON"),
    ],
)
def test_a_context_that_cannot_be_read_is_refused(options: dict[str, list[str]], message: str) -> None:
    """The message names the option and what is wrong with it."""
    with pytest.raises(CommandError) as refused:
        whose_of(**options)  # type: ignore[arg-type]  # parametrized by name
    assert refused.value.messages == (message,)


@pytest.mark.parametrize("resource", ["database", ":prod", "database:"])
def test_a_resource_has_a_type_and_an_id(resource: str) -> None:
    """Anything else is refused with what was given."""
    with pytest.raises(CommandError) as refused:
        what_of(resource=resource)
    assert refused.value.messages == (f"`--resource` must be `type:id`, got `{resource}`",)


def test_the_id_of_a_resource_may_have_colons() -> None:
    """Only the first colon ends the type."""
    assert what_of(resource="arn:aws:s3") == {"resource": {"type": "arn", "id": "aws:s3"}}


def test_options_add_to_a_request_and_count_over_it() -> None:
    """Mappings are merged member by member."""
    beneath = {"subject": {"id": "a", "type": "workload"}, "context": {"x": 1}, "task_id": "t"}
    above = {"subject": {"id": "b"}, "context": {"y": 2}}
    expected = {"subject": {"id": "b", "type": "workload"}, "context": {"x": 1, "y": 2}, "task_id": "t"}
    assert merged(beneath, above) == expected


@pytest.mark.parametrize("missing", ["subject", "action", "resource"])
def test_a_question_says_what_it_lacks(missing: str) -> None:
    """Both ways to give it are named."""
    given = {"subject": {"id": "s"}, "action": {"name": "a"}, "resource": {"type": "t", "id": "i"}}
    del given[missing]
    with pytest.raises(CommandError) as refused:
        Question(dict(given)).check()
    assert refused.value.messages == (f"the question has no {missing}",)
    assert f"`--{missing}`" in refused.value.hint


def test_times_of_a_credential_need_a_zone() -> None:
    """A local time would mean something else on another machine."""
    given = whose_of(subject="s", credential_id="c", credential_issued_at="2026-03-01T09:00:00")
    with pytest.raises(CommandError, match=r"`credential\.issued_at` must be a time with a zone"):
        Question(given).permissions()


def test_every_problem_of_a_request_file_is_said(tmp_path: Path) -> None:
    """An author mends it in one go."""
    file = tmp_path / "request.json"
    file.write_text('{"subject": {"idd": "x"}, "action": "read", "task_id": 7, "at_least_revision": true, "foo": 1}')
    with pytest.raises(CommandError) as refused:
        read_request(str(file))
    expected = [
        "unknown member `subject.idd`: did you mean `id`?",
        "`action` must be an object",
        "`task_id` must be text",
        "`at_least_revision` must be a whole number",
        "unknown member `foo`",
    ]
    assert list(refused.value.messages) == [f"{file}: {problem}" for problem in expected]


def test_what_is_said_counts_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option for the directory, too, is more than a variable for the address."""
    monkeypatch.setenv("SESSIONPDP_TARGET", "unix:/from/environment")
    monkeypatch.setenv("SESSIONPDP_ADMIN_TARGET", "unix:/admin/from/environment")
    assert decisions_of().target == "unix:/from/environment"
    assert administration_of().target == "unix:/admin/from/environment"
    assert decisions_of(data_dir=Path("/d")).target == "unix:/d/pdp.sock"
    assert decisions_of(target="localhost:1", data_dir=Path("/d")).target == "localhost:1"


def test_without_anything_said_it_is_the_sockets_in_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute, because gRPC takes a relative path for something else."""
    monkeypatch.delenv("SESSIONPDP_TARGET", raising=False)
    assert decisions_of().target == f"unix:{Path.cwd()}/data/pdp.sock"


def test_nobody_there_says_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint fits to how the address was found."""
    monkeypatch.delenv("SESSIONPDP_TARGET", raising=False)
    assert "start one with `pdp serve`," in unreachable(decisions_of()).hint
    assert "start one with `pdp serve --data-dir /d`," in unreachable(decisions_of(data_dir=Path("/d"))).hint
    assert "`--target` names another" in unreachable(decisions_of(target="localhost:1")).hint


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_timeout_is_more_than_nothing(timeout: float) -> None:
    """Nothing could answer within it."""
    with pytest.raises(CommandError, match="`--timeout` must be more than 0 seconds"):
        decisions_of(timeout=timeout)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m59s"), (3600, "1h"), (90_061, "1d1h"), (86_460, "1d")],
)
def test_a_span_of_time_has_its_two_largest_units(seconds: float, text: str) -> None:
    """The rest is not what a person asks for."""
    assert span_text(timedelta(seconds=seconds)) == text


def test_an_end_is_told_with_its_distance() -> None:
    """Before and after."""
    assert time_text(NOW) == "2026-03-01T09:00:00Z"
    assert until_text(NOW, NOW - timedelta(minutes=5)) == "2026-03-01T09:00:00Z, in 5m"
    assert until_text(NOW, NOW + timedelta(hours=2)) == "2026-03-01T09:00:00Z, 2h ago"


def test_mutual_tls_is_whole_or_not_at_all() -> None:
    """A certificate that is forgotten must not become a connection without one."""
    with pytest.raises(CommandError, match="`--ca`, `--cert` and `--key` go together"):
        decisions_of(target="localhost:1", ca=Path("ca.pem"))
