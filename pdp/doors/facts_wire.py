"""Facts between the wire and the domain.

The messages of `facts.proto` and the structs of `core.model` have the same fields by the same names, so the conversion
by field of `fields_wire` serves all kinds; `tests/unit/test_facts_wire.py` holds the two together.
"""

from __future__ import annotations

from google.protobuf.message import Message
from sessionpdp.v1 import facts_pb2 as pb

from pdp.core.lawful import faults_of
from pdp.core.lawful_request import Fault
from pdp.core.model import KIND_OF, TYPE_OF, AnyFact, FactKind
from pdp.doors.fields_wire import fill, struct_of

_STAMPED = frozenset({"revision", "traceparent"})
"""Fields that the store writes."""


def fact_of(message: pb.Fact, path: str, faults: list[Fault]) -> AnyFact | None:
    """Return the fact a message carries; None with at least one fault if it carries none that is lawful."""
    which = message.WhichOneof("fact")
    if which is None:
        faults.append(Fault(path, "carries no fact"))
        return None
    path = f"{path}.{which}."
    kind: type[AnyFact] = TYPE_OF[FactKind(which)]
    fact = struct_of(getattr(message, which), kind, path, faults, without=_STAMPED)
    if fact is None:
        return None
    unlawful = [Fault(f"{path}{field}", text) for field, text in faults_of(fact)]
    faults += unlawful
    return None if unlawful else fact


def message_of(fact: AnyFact) -> pb.Fact:
    """Return the wire form of a fact."""
    message = pb.Fact(revision=fact.revision)
    inner: Message = getattr(message, KIND_OF[type(fact)])
    inner.SetInParent()
    fill(inner, fact, without=_STAMPED)
    return message
