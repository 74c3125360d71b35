"""What travels to the scribe says there what it would have said here, whatever it is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pdp.core.decide import decide
from pdp.core.model import Attribute, Attributes, Caller, Credential, Request
from pdp.core.scope import IdentityScope
from pdp.core.snapshot import Snapshot
from pdp.evidence.line.masking import Masking, MaskRule, Masks, masking_of
from pdp.evidence.line.packed_record import body_of_packed, head_of, pack, records_of
from pdp.evidence.line.record_json import body_of
from pdp.evidence.record import AnyRecord, DecisionRecord
from tests.property.test_telemetry_laws import NOW, instants, records, texts

NAMES = st.sampled_from(["a", "b", "c.d"]) | st.text(max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES: st.SearchStrategy[Attribute] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
ATTRIBUTES: st.SearchStrategy[Attributes] = st.dictionaries(NAMES, VALUES, max_size=3)
ENDS = st.none() | instants
REQUESTS = st.builds(
    Request,
    texts,
    texts,
    texts,
    session=texts,
    task=texts,
    context=ATTRIBUTES,
    credential=st.none() | st.builds(Credential, texts, texts, texts, ENDS, ENDS),
    caller=st.none() | st.just(Caller("gateway", IdentityScope(["jobs/**", "job"]))),
    subject_type=texts,
    subject_properties=ATTRIBUTES,
    action_properties=ATTRIBUTES,
    resource_properties=ATTRIBUTES,
    at_least_revision=st.integers(0, 1 << 62),
    request_id=st.text(max_size=5),
)
RULES = [MaskRule(attributes=["context.a", "subject_properties.c.*"]), MaskRule(attributes=["context.b"], when="false")]


def asked(record: AnyRecord, request: Request, *, shadowed: bool) -> AnyRecord:
    """Return the record of a decision about another request; any other record as it is."""
    if not isinstance(record, DecisionRecord):
        return record
    shadow = decide(request, Snapshot(), NOW) if shadowed else None
    return replace(record, request=request, shadow=shadow)


@given(st.lists(st.builds(asked, records, REQUESTS, shadowed=st.booleans()), max_size=3))
def test_what_travels_says_what_it_would_have_said_here(some: list[AnyRecord]) -> None:
    """Masked, whole or reduced; also where only one of JSON and MessagePack can say it."""
    masking = Masking(RULES)
    with tempfile.TemporaryDirectory() as directory:
        masking.start(Path(directory))
    there = masking_of(msgspec.msgpack.decode(msgspec.msgpack.encode(masking.masks), type=Masks))
    piece = b"".join(pack(record, masking.applied) for record in some)
    arrived = [body_of_packed(one, there.applied) for one in records_of(head_of(len(some)) + piece)]
    assert arrived == [body_of(record, masking.applied) for record in some]


@given(st.binary(max_size=20))
def test_what_makes_no_sense_stops_nothing(sent: bytes) -> None:
    """It is a record that says so."""
    said = json.loads(body_of_packed(b"\xd9" + sent))
    assert (said["kind"], said["name"]) == ("lifecycle", "record_unwritable")
