"""Laws of facts: what is written reads back, through the codec and through files."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from pdp.core.lawful import LAST_INSTANT, fault_of_text, faults_of
from pdp.core.model import (
    KIND_OF,
    AnyFact,
    Approval,
    Attribute,
    Consent,
    Drop,
    FactKind,
    Put,
)
from pdp.core.scope import ActionScope, IdentityScope, ResourceScope
from pdp.state.codec import Codec, CodecError
from pdp.state.document import DocumentError
from pdp.state.facts_file import SECTIONS, dump_facts, parse_facts

TRICKY = st.sampled_from(
    ["on", "~", "null", "2026-01-01", "1:30", "010", "1e3", ".5", "<<", "=", "- a", "a: b", "#", " a ", "'", '"', "!t"]
) | st.sampled_from(["\ufeff", "x" * 200, "&a", "*", "%", "@", "`", "|", ">", "\U0001f3d4", "\uffff", "é\u2028"])
TEXTS = (TRICKY | st.text(min_size=1, max_size=8)).filter(lambda text: not fault_of_text(text))
PROSE = (TEXTS | st.sampled_from(["a\nb", "a\n", "\n a\tb ", " \n"])).filter(
    lambda text: not fault_of_text(text, prose=True)
)
VALUES: st.SearchStrategy[Attribute] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | PROSE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
LITERALS = TEXTS.filter(lambda text: not set(text) & set("*./:"))
INSTANTS = st.integers(0, LAST_INSTANT)
DURATIONS = st.none() | st.integers(1, LAST_INSTANT)

CONSENTS = st.lists(
    st.builds(Consent, by=TEXTS, at=INSTANTS, groups=st.lists(TEXTS, max_size=2).map(tuple)),
    max_size=3,
    unique_by=lambda consent: consent.by,
).map(tuple)


def scopes(kind: type, separator: str, prefix: str = "") -> st.SearchStrategy[object]:
    """Return scopes of lawful patterns."""
    patterns = st.lists(LITERALS | st.just("*"), min_size=1, max_size=3).map(
        lambda segments: prefix + separator.join(segments)
    )
    return st.lists(patterns | st.just("**"), min_size=1, max_size=3).map(kind)


BY_FIELD: dict[str, st.SearchStrategy[object]] = {
    "revision": st.just(0),
    "traceparent": st.just(""),
    "labels": st.dictionaries(TEXTS, TEXTS, max_size=3),
    "credential_max_age": DURATIONS,
    "max_session_ttl": DURATIONS,
    "idle_timeout": DURATIONS,
    "certified_until": st.none() | INSTANTS,
    "reviewed_at": st.none() | INSTANTS,
    "review_due": INSTANTS,
    "not_before": st.integers(0, LAST_INSTANT // 2),
    "expires_at": st.integers(LAST_INSTANT // 2 + 1, LAST_INSTANT),
    "effective_at": st.integers(0, LAST_INSTANT // 2),
    "max_uses": st.none() | st.integers(1, (1 << 63) - 1),
    "constraints": st.dictionaries(TEXTS, st.lists(VALUES, min_size=1, max_size=3), max_size=2),
    "value": VALUES,
    "reason": PROSE,
    "justification": PROSE,
    "consents": CONSENTS,
    "actions": scopes(ActionScope, "."),
    "resources": scopes(ResourceScope, "/", "type:"),
}


def facts_of(type_: type[AnyFact]) -> st.SearchStrategy[AnyFact]:
    """Return lawful facts of one kind, every field filled."""
    strategies: dict[str, st.SearchStrategy[object]] = {}
    for info in fields(type_):
        if isinstance(info.type, type) and issubclass(info.type, Enum):
            strategies[info.name] = st.sampled_from(info.type)
        elif info.type is IdentityScope:
            strategies[info.name] = scopes(IdentityScope, "/")
        else:
            strategies[info.name] = BY_FIELD.get(info.name, TEXTS)
    built: st.SearchStrategy[AnyFact] = st.builds(type_, **strategies)
    return built.map(approved_by_who_consented).filter(is_lawful)


def approved_by_who_consented(fact: AnyFact) -> AnyFact:
    """Have an approval given by the last who consented, if anybody has."""
    return replace(fact, approved_by=fact.consents[-1].by) if isinstance(fact, Approval) and fact.consents else fact


def is_lawful(fact: AnyFact) -> bool:
    """Return whether a store would take the fact."""
    return not faults_of(fact)


FACTS: st.SearchStrategy[AnyFact] = st.one_of(*map(facts_of, KIND_OF))
CHANGES = FACTS.map(Put) | st.builds(Drop, st.sampled_from(FactKind), TEXTS)
MANY_FACTS = st.lists(FACTS, max_size=4, unique_by=lambda fact: (KIND_OF[type(fact)], fact.id))


@given(st.lists(CHANGES, max_size=4))
def test_changes_read_back_as_written(changes: list[Put | Drop]) -> None:
    """The codec is exact, whatever is in a fact."""
    codec = Codec()
    assert codec.decode_changes(codec.encode_changes(changes)) == tuple(changes)


@given(MANY_FACTS)
def test_facts_read_back_from_the_file_they_were_dumped_to(facts: list[AnyFact]) -> None:
    """Byte for byte in every identifier, and to the nanosecond."""
    order = list(SECTIONS.values())
    by_kind_and_id = sorted(facts, key=lambda fact: (order.index(KIND_OF[type(fact)]), fact.id))
    assert parse_facts(dump_facts(facts), "f") == by_kind_and_id


@given(MANY_FACTS)
def test_a_dump_is_stable(facts: list[AnyFact]) -> None:
    """The order of the facts does not matter, and dumping what was read changes nothing."""
    text = dump_facts(facts)
    assert (dump_facts(reversed(facts)), dump_facts(parse_facts(text, "f"))) == (text, text)


@given(MANY_FACTS, st.data())
def test_a_damaged_file_is_facts_or_a_document_error(facts: list[AnyFact], data: st.DataObject) -> None:
    """Cut out or put in what you like: nothing else escapes."""
    text = dump_facts(facts)
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    try:
        parse_facts(text[:start] + data.draw(st.text(max_size=5)) + text[end:], "f")
    except DocumentError as error:
        assert error.problems  # noqa: PT017  # either outcome is right


@given(st.binary())
def test_bytes_are_facts_or_a_codec_error(data: bytes) -> None:
    """Nothing else escapes the codec."""
    codec = Codec()
    for kind in FactKind:
        with suppress(CodecError):
            codec.decode_fact(kind, data)
    with suppress(CodecError):
        codec.decode_changes(data)
