"""Lawful facts of every kind come back from the wire as they were."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from sessionpdp.v1 import facts_pb2

from pdp.core.lawful import faults_of
from pdp.core.lawful_request import Fault
from pdp.core.model import (
    AnyFact,
    Approval,
    ApprovalKind,
    ApprovalState,
    Attribute,
    Consent,
    Entitlement,
    Identity,
    IdentityKind,
    IdentityState,
    Revocation,
    RevocationTarget,
    Session,
    SessionState,
    Signal,
    Task,
    TaskState,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.doors.facts_wire import fact_of, message_of

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
ids = texts.filter(lambda text: bool(text) and "*" not in text and "/" not in text)
instants = st.integers(0, 4_000_000_000_000_000_000)
durations = st.none() | st.integers(1, 10**18)
uses = st.none() | st.integers(1, (1 << 63) - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | texts
attributes: st.SearchStrategy[Attribute] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ids, inner, max_size=3), max_leaves=8
)
actions = st.lists(st.sampled_from(["rows.*", "rows.read", "**", "a.**"]), min_size=1, max_size=3, unique=True).map(
    ActionScope
)
resources = st.lists(st.sampled_from(["db:prod/**", "db:a", "*:**", "db:*/x"]), min_size=1, unique=True).map(
    ResourceScope
)
windows = st.tuples(instants, st.integers(1, 10**18)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """Draw a session."""
    begin, end = draw(windows)
    return Session(
        id=draw(ids),
        identity=draw(ids),
        task=draw(ids),
        entitlement=draw(ids),
        approval=draw(texts),
        actions=draw(actions),
        resources=draw(resources),
        constraints=draw(st.dictionaries(ids, st.lists(attributes, min_size=1, max_size=3), max_size=2)),
        not_before=begin,
        expires_at=end,
        idle_timeout=draw(durations),
        max_uses=draw(uses),
        parent=draw(texts),
        state=draw(st.sampled_from(SessionState)),
        opened_by=draw(texts),
        reviewed_by=draw(texts),
    )


consents = st.lists(
    st.builds(Consent, by=ids, at=instants, groups=st.lists(ids, max_size=2).map(tuple)),
    max_size=3,
    unique_by=lambda consent: consent.by,
).map(tuple)


@st.composite
def approvals(draw: st.DrawFn) -> Approval:
    """Draw an approval."""
    begin, end = draw(windows)
    given_by = draw(consents)
    return Approval(
        id=draw(ids),
        kind=draw(st.sampled_from(ApprovalKind)),
        state=draw(st.sampled_from(ApprovalState)),
        identity=draw(texts),
        ticket=draw(texts),
        requested_by=draw(ids),
        approved_by=given_by[-1].by if given_by else draw(ids),
        actions=draw(actions),
        resources=draw(resources),
        not_before=begin,
        expires_at=end,
        max_uses=draw(uses),
        review_due=draw(instants),
        reviewed_by=draw(texts),
        justification=draw(texts),
        consents=given_by,
    )


facts: st.SearchStrategy[AnyFact] = st.one_of(
    sessions(),
    approvals(),
    st.builds(
        Identity,
        id=ids,
        kind=st.sampled_from(IdentityKind),
        owner=texts,
        state=st.sampled_from(IdentityState),
        labels=st.dictionaries(ids, texts, max_size=3),
        credential_max_age=durations,
        revision=st.just(0),
        traceparent=st.just(""),
    ),
    st.builds(
        Entitlement,
        id=ids,
        identity=ids.map(lambda id_: IdentityScope([id_])),
        actions=actions,
        resources=resources,
        max_session_ttl=durations,
        certified_by=texts,
        certified_until=st.none() | instants,
        granted_by=texts,
        reviewed_at=st.none() | instants,
        revision=st.just(0),
        traceparent=st.just(""),
    ),
    st.builds(
        Task,
        id=ids,
        owner=texts,
        parent=texts,
        state=st.sampled_from(TaskState),
        revision=st.just(0),
        traceparent=st.just(""),
    ),
    st.builds(
        Revocation,
        id=ids,
        target=st.sampled_from(RevocationTarget),
        target_id=ids,
        effective_at=instants,
        reason=ids,
        source=texts,
        expires_at=st.none(),
        revoked_by=texts,
        revision=st.just(0),
        traceparent=st.just(""),
    ),
    st.builds(
        Signal,
        id=ids,
        about=ids,
        name=ids,
        value=attributes,
        source=texts,
        expires_at=instants,
        revision=st.just(0),
        traceparent=st.just(""),
    ),
).filter(lambda fact: not faults_of(fact))


@given(facts)
def test_a_fact_survives_the_wire(fact: AnyFact) -> None:
    """Byte for byte, instant for instant."""
    faults: list[Fault] = []
    message = facts_pb2.Fact.FromString(message_of(fact).SerializeToString())
    assert (fact_of(message, "fact", faults), faults) == (fact, [])


@given(st.binary(max_size=120))
def test_any_fact_message_is_a_fact_or_has_faults(data: bytes) -> None:
    """Never both, never neither, and nothing is raised."""
    try:
        message = facts_pb2.Fact.FromString(data)
    except DecodeError:
        return
    faults: list[Fault] = []
    fact = fact_of(message, "fact", faults)
    assert (fact is None) == bool(faults)
