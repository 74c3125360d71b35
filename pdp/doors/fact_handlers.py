"""What GovernanceService tells of facts and of the caller, free of any transport."""

from __future__ import annotations

from itertools import compress
from typing import TypeVar

from google.protobuf.message import Message
from msgspec import Struct
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.lawful_request import Fault
from pdp.core.model import KIND_OF, FactKind, Revocation, RevocationTarget
from pdp.core.snapshot import Snapshot
from pdp.doors.call import Call
from pdp.doors.errors import InvalidRequestError, NotFoundError
from pdp.doors.facts_wire import message_of
from pdp.doors.fields_wire import struct_of
from pdp.doors.fitting import that_fit
from pdp.doors.governing import Permit
from pdp.governance.desk import Desk
from pdp.governance.rules.identities import unowned
from pdp.governance.table import ROLES_OF
from pdp.state.store import FactRef, Page, page_token

_PAGE = 1000
_Q = TypeVar("_Q", bound=Struct)


class _Wanted(Struct, frozen=True):
    """The fact that GetFact asks for."""

    kind: FactKind
    id: str = ""


class _WantedPage(Struct, frozen=True):
    """The facts that ListFacts asks for."""

    kind: FactKind | None = None
    page_size: int = _PAGE
    page_token: str = ""


class _WantedRevocations(Struct, frozen=True):
    """The revocations that ListRevocations asks for."""

    target: RevocationTarget | None = None
    target_id: str = ""
    page_size: int = _PAGE
    page_token: str = ""

    def has(self, revocation: Revocation) -> bool:
        """Whether a revocation is among them."""
        return self.target in (None, revocation.target) and self.target_id in ("", revocation.target_id)


class FactHandlers:
    """The queries that need nothing but the facts."""

    def __init__(self, desk: Desk, snapshot: Snapshot) -> None:
        self._desk = desk
        self._snapshot = snapshot

    async def get_fact(self, message: pb.GetFactRequest, _: Call, __: Permit) -> pb.GetFactResponse:
        """Read one fact."""
        wanted = query_of(message, _Wanted)
        fact = await self._desk.read(wanted.kind, wanted.id)
        if fact is None:
            text = f"{wanted.kind} `{wanted.id}` is not known"
            raise NotFoundError(text)
        return pb.GetFactResponse(fact=message_of(fact))

    async def list_facts(self, message: pb.ListFactsRequest, _: Call, __: Permit) -> pb.ListFactsResponse:
        """Read facts page by page."""
        wanted = query_of(message, _WantedPage)
        revision = self._desk.revision
        page = await self._page(wanted.kind, wanted.page_token, wanted.page_size)
        facts = list(that_fit(map(message_of, page.facts)))
        return pb.ListFactsResponse(facts=facts, next_page_token=_next(page, len(facts)), revision=revision)

    async def list_revocations(
        self, message: pb.ListRevocationsRequest, _: Call, __: Permit
    ) -> pb.ListRevocationsResponse:
        """Read revocations page by page; a page may have fewer than there is room for, and others follow."""
        wanted = query_of(message, _WantedRevocations)
        revision = self._desk.revision
        page = await self._page(FactKind.REVOCATION, wanted.page_token, wanted.page_size)
        facts = list(that_fit(map(message_of, page.facts)))
        read = page.facts[: len(facts)]
        found = [isinstance(fact, Revocation) and wanted.has(fact) for fact in read]
        revocations = [one.revocation for one in compress(facts, found)]
        return pb.ListRevocationsResponse(
            revocations=revocations, next_page_token=_next(page, len(facts)), revision=revision
        )

    async def list_unowned_identities(
        self, _: pb.ListUnownedIdentitiesRequest, __: Call, ___: Permit
    ) -> pb.ListUnownedIdentitiesResponse:
        """Tell which identities nobody answers for, the first by their ids; once taken over, others follow."""
        first = unowned(self._snapshot, self._desk.now(), _PAGE)
        identities = that_fit(message_of(one).identity for one in first)
        return pb.ListUnownedIdentitiesResponse(identities=identities, revision=self._snapshot.revision)

    async def get_principal(self, _: pb.GetPrincipalRequest, __: Call, permit: Permit) -> pb.GetPrincipalResponse:
        """Tell who the caller is."""
        principal = permit.principal
        return pb.GetPrincipalResponse(
            name=principal.name,
            roles=sorted(principal.roles),
            groups=sorted(principal.groups),
            identities=principal.identities.patterns,
            methods=sorted(name for name, roles in ROLES_OF.items() if roles & principal.roles),
        )

    async def _page(self, kind: FactKind | None, token: str, size: int) -> Page:
        try:
            return await self._desk.page(kind, token, min(size, _PAGE))
        except ValueError as error:
            raise InvalidRequestError([Fault("page_token", str(error))]) from error


def _next(page: Page, told: int) -> str:
    """Return the token that continues a page of which so many facts are told."""
    if told == len(page.facts):
        return page.next_token
    last = page.facts[told - 1]
    return page_token(FactRef(KIND_OF[type(last)], last.id))


def query_of(message: Message, kind: type[_Q]) -> _Q:
    """Return what a query asks for; raise InvalidRequestError with one fault per bad field."""
    faults: list[Fault] = []
    wanted = struct_of(message, kind, "", faults)
    if wanted is None:
        raise InvalidRequestError(faults)
    return wanted
