"""A session's story, when what is on record cannot be found."""

from __future__ import annotations

import pytest
from sessionpdp.v1 import governance_pb2 as pb

from pdp.core.model import FactKind
from pdp.core.scope import IdentityScope
from pdp.doors.call import Call
from pdp.doors.errors import UnavailableError
from pdp.doors.governing import Permit
from pdp.doors.story_handlers import StoryHandlers
from pdp.evidence.index.query import FoundRecord, Page, Query
from pdp.evidence.trouble import IndexUnavailableError
from pdp.evidence.usage.usage_summary import UNUSED, UsageSummary
from pdp.governance.roles import Principal, Role
from tests.unit.test_evidence_usage import NOW, snapshot

PERMIT = Permit(
    Principal(name="auditor", roles=frozenset({Role.AUDITOR}), identities=IdentityScope(["**"])), Role.AUDITOR
)
ASKED = pb.DescribeSessionRequest(session_id="s-1")


class Unused:
    """An account of uses in which there are none."""

    def used_by(self, kind: FactKind, id_: str) -> UsageSummary:
        """Tell of none."""
        return UNUSED


class Found:
    """An index that finds the same line whatever is asked, or is not there."""

    def __init__(self, line: bytes | None) -> None:
        self._line = line

    def page(self, query: Query, token: str, size: int) -> Page:
        """Find it."""
        if self._line is None:
            message = "records cannot be found: disk full"
            raise IndexUnavailableError(message)
        return Page((FoundRecord(1, self._line),), "", 1)


async def described(line: bytes | None) -> pb.DescribeSessionResponse:
    """Ask for the story of a session."""
    handlers = StoryHandlers(snapshot(), lambda: NOW, Unused(), Found(line))
    return await handlers.describe_session(ASKED, Call("DescribeSession"), PERMIT)


async def test_without_an_index_there_is_no_story() -> None:
    """Rather none than half of it; the door calls that unavailable, as it does for records."""
    with pytest.raises(IndexUnavailableError, match="disk full"):
        await described(None)


async def test_a_line_that_is_no_record_is_told() -> None:
    """It was one when it was indexed."""
    with pytest.raises(UnavailableError, match="the journal cannot be read"):
        await described(b'{"seq":1,"kind":"decision"')
