"""Facts of a sidecar, from its messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace
from sessionpdp.v1 import facts_pb2, governance_pb2

from pdp.cli.connections import Door
from pdp.cli.trouble import CommandError
from pdp.core.lawful_request import Fault
from pdp.core.model import AnyFact, FactKind
from pdp.doors.facts_wire import fact_of

if TYPE_CHECKING:
    from sessionpdp.v1.governance_pb2_grpc import GovernanceServiceStub

_PAGE = 1000


def fact_of_message(message: facts_pb2.Fact) -> AnyFact:
    """Return the fact a message carries; raise CommandError for one this version does not know."""
    faults: list[Fault] = []
    fact = fact_of(message, "fact", faults)
    if fact is None:
        error = f"the sidecar has a fact that this version cannot read: {faults[0].field}: {faults[0].message}"
        raise CommandError(error)
    return replace(fact, revision=message.revision)


def read_fact(governance: GovernanceServiceStub, kind: FactKind, id_: str, door: Door) -> AnyFact:
    """Return one fact."""
    request = governance_pb2.GetFactRequest(kind=number_of(kind), id=id_)
    return fact_of_message(governance.GetFact(request, timeout=door.timeout_s).fact)


def listed_facts(governance: GovernanceServiceStub, kind: FactKind | None, door: Door) -> Iterator[AnyFact]:
    """Yield all facts of a kind, or of all kinds, page by page."""
    request = governance_pb2.ListFactsRequest(kind=number_of(kind), page_size=_PAGE)
    while True:
        page = governance.ListFacts(request, timeout=door.timeout_s)
        yield from map(fact_of_message, page.facts)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def number_of(kind: FactKind | None) -> facts_pb2.FactKind.ValueType:
    """Return the contract's number of a kind."""
    return facts_pb2.FactKind.Value("FACT_KIND_UNSPECIFIED" if kind is None else f"FACT_KIND_{kind.upper()}")
