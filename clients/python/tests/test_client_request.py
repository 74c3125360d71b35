"""From Python values to the message: exactly, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from sessionpdp import Action, Check, Credential, InvalidCheck, Resource, Subject
from sessionpdp.calling import CallDefaults
from sessionpdp.request import CheckFields, check_request, permissions_request

if TYPE_CHECKING:
    from collections.abc import Mapping

LEGAL: dict[str, Any] = {"subject": "x", "action": "rows.read", "resource": "database:prod/users"}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_values_carry_types_and_properties() -> None:
    """Text is short for a value that has more to say."""
    message = check_request(
        subject=Subject(id="x", type="workload", properties={"tier": 1}),
        action=Action("rows.read", {"limit": 10}),
        resource=Resource("database", "a:b/c", {"owner": "team"}),
    )

    assert (message.subject.type, message.subject.properties["tier"]) == ("workload", 1)
    assert message.action.properties["limit"] == 10
    assert (message.resource.type, message.resource.id) == ("database", "a:b/c")
    assert message.resource.properties["owner"] == "team"


def test_a_resource_is_split_at_its_first_colon() -> None:
    """Ids may have colons of their own, types may not."""
    message = check_request(**{**LEGAL, "resource": "arn:aws:s3:::bucket"})
    assert (message.resource.type, message.resource.id) == ("arn", "aws:s3:::bucket")


def test_text_is_sent_as_it_is() -> None:
    """No folding, no normalisation, no clean-up."""
    message = check_request(**{**LEGAL, "subject": " E\u0301/../X ", "resource": "Path:a//b/../c"})
    assert message.subject.id == " E\u0301/../X "
    assert message.resource.id == "a//b/../c"


def test_no_credential_is_not_an_empty_one() -> None:
    """A credential that was shown is told even if nothing is known of it."""
    assert not check_request(**LEGAL).HasField("credential")
    assert check_request(**LEGAL, credential=Credential()).HasField("credential")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"subject": ""}, "`subject` is empty"),
        ({"subject": 5}, "`subject` must be text, got int"),
        ({"subject": None}, "`subject` must be text, got NoneType"),
        ({"subject": "\ud800"}, "`subject` is not valid Unicode"),
        ({"subject": Subject("x", type=1)}, "`subject.type` must be text, got int"),  # type: ignore[arg-type]
        ({"action": ""}, "`action` is empty"),
        ({"resource": "users"}, "`resource` must be `type:id`, got `users`"),
        ({"resource": ":users"}, "`resource.type` is empty"),
        ({"resource": "database:"}, "`resource.id` is empty"),
        ({"resource": Resource("a:b", "c")}, "`resource.type` must not contain `:`, got `a:b`"),
        ({"resource": 5}, "`resource` must be text or a Resource, got int"),
        ({"session": 5}, "`session` must be text, got int"),
        ({"task": ["t"]}, "`task` must be text, got list"),
        ({"request_id": 5}, "`request_id` must be text, got int"),
        ({"at_least_revision": -1}, "`at_least_revision` must be a revision, got `-1`"),
        ({"at_least_revision": 2**64}, "`at_least_revision` must be a revision"),
        ({"at_least_revision": "7"}, "`at_least_revision` must be a revision, got `7`"),
        ({"context": [1]}, "`context` must be a mapping, got list"),
        ({"context": {1: "a"}}, "names in `context` must be text, got int"),
        ({"context": {"n": 2**53 + 1}}, r"`context.n` is an integer beyond 2\*\*53"),
        ({"context": {"n": float("nan")}}, "`context.n` must be a finite number"),
        ({"context": {"a": [{"b": {1}}]}}, r"`context.a\[0\].b` cannot be sent: set is not a JSON type"),
        ({"context": {"a": "\ud800"}}, "`context.a` is not valid Unicode"),
        ({"context": {"\ud800": 1}}, "`context` is not valid Unicode"),
        ({"credential": Credential(expires_at=datetime(2026, 1, 1))}, "`credential.expires_at` must be"),  # noqa: DTZ001
    ],
)
def test_a_bad_field_is_named(change: Mapping[str, object], complaint: str) -> None:
    """The message says which field and what is wrong with it."""
    with pytest.raises(InvalidCheck, match=complaint) as caught:
        check_request(**{**LEGAL, **change})
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("field", ["subject", "action", "resource"])
def test_what_a_check_is_about_is_required(field: str) -> None:
    """A missing field is a mistake in the call."""
    with pytest.raises(TypeError, match=field):
        check_request(**{name: value for name, value in LEGAL.items() if name != field})


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_context_arrives_as_it_was_given(context: dict[str, object]) -> None:
    """Every JSON value survives the way there."""
    message = check_request(**LEGAL, context=context)
    assert json_format.MessageToDict(message.context) == context


@given(st.integers(min_value=-(2**53), max_value=2**53))
def test_integers_arrive_exactly(number: int) -> None:
    """Up to where doubles are exact; beyond, they are refused."""
    assert check_request(**LEGAL, context={"n": number}).context["n"] == number


def test_permissions_take_the_same_fields() -> None:
    """One place turns fields into messages."""
    message = permissions_request(subject="x", session="s", task="t", context={"a": 1}, at_least_revision=2)
    assert (message.subject.id, message.session_id, message.task_id, message.at_least_revision) == ("x", "s", "t", 2)
    with pytest.raises(InvalidCheck, match="`subject` is empty"):
        permissions_request(subject="")


def test_a_check_is_its_fields() -> None:
    """The value and the keyword arguments cannot drift apart."""
    check = Check(**LEGAL, task="t")
    assert set(check.fields()) == set(CheckFields.__annotations__)
    assert Check(**check.fields()) == check


def test_an_explicit_trace_parent_wins() -> None:
    """Then the provider's, then none."""
    explicit = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    provided = "00-" + "3" * 32 + "-" + "4" * 16 + "-00"
    defaults = CallDefaults(1, lambda: provided, 1)

    assert defaults.request(**LEGAL, traceparent=explicit).traceparent == explicit
    assert defaults.request(**LEGAL).traceparent == provided
    assert CallDefaults(1, lambda: None, 1).request(**LEGAL).traceparent == ""


def test_the_current_span_is_the_default() -> None:
    """Where the application traces with OpenTelemetry, the decision joins its trace."""
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))

    with trace.use_span(trace.NonRecordingSpan(context)):
        message = CallDefaults(1, None, 1).request(**LEGAL)

    assert message.traceparent == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert CallDefaults(1, None, 1).request(**LEGAL).traceparent == ""


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_client_that_could_get_no_answer_is_refused(timeout: float) -> None:
    """When it is made, not when it is used."""
    with pytest.raises(ValueError, match="`timeout` must be more than 0 seconds"):
        CallDefaults(timeout, None, 1)
    with pytest.raises(ValueError, match="`max_batch` must be at least 1"):
        CallDefaults(1, None, 0)


def test_times_of_credentials_arrive() -> None:
    """In whatever zone they are given."""
    moment = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    message = check_request(**LEGAL, credential=Credential(issued_at=moment, expires_at=moment))
    assert message.credential.expires_at.ToDatetime(UTC) == moment
