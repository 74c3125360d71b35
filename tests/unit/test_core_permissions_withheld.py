"""Why there are no permissions, when the session is live."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pdp.core.model import Duration
from pdp.core.permissions import permissions
from pdp.core.policy.model import Limits, Policy
from pdp.core.reasons import Code
from pdp.core.scope import ResourceScope
from tests.unit.core_story import NOW, REQUEST, chain, loaded, session


@pytest.mark.parametrize("resource", ["**", "database:prod/**"])
def test_a_limit_that_leaves_nothing_is_named(resource: str) -> None:
    """Be it a policy on everything or on just what the session covers."""
    tight = Policy(name="tight", actions=("**",), resources=(resource,), limits=Limits(session_ttl=Duration(1)))
    narrow = replace(session(0), resources=ResourceScope(["database:prod/users"]))

    listed = permissions(REQUEST, loaded([*chain(0), narrow], tight), NOW)

    assert listed.permissions == ()
    assert [denial.code for denial in listed.denials] == [Code.POLICY_LIMIT]
