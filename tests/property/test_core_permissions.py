"""What a session is told it may do is what it may do."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from hypothesis import event, given
from msgspec.structs import replace as changed

from pdp.core.decide import decide
from pdp.core.decision import Allow
from pdp.core.model import Instant, Request
from pdp.core.permissions import Permission, permissions
from pdp.core.reasons import Code, Denial
from tests.property.core_worlds import ACTIONS, MILD, RESOURCES, laws, questions
from tests.property.reference_world import World, covers

_Question = tuple[World, Request, Instant]
_ABOUT_ONE_CALL = frozenset(Code) - frozenset(list(Code)[: list(Code).index(Code.ACTION_OUT_OF_SCOPE)])


def lies_in(permission: Permission, request: Request) -> bool:
    """Whether a permission is about the request's action and resource."""
    action = covers([permission.action], request.action, "..")
    return action and covers([permission.resource], request.resource, ":/")


@laws
@given(questions(MILD))
def test_whatever_is_allowed_is_listed(question: _Question) -> None:
    """A request that is allowed lies in a permission."""
    world, request, now = question
    snapshot = world.snapshot()
    listed = permissions(request, snapshot, now)
    if isinstance(decide(request, snapshot, now), Allow):
        event("allowed")
        assert listed.denials == ()
        assert any(lies_in(permission, request) for permission in listed.permissions)


@laws
@given(questions(MILD))
def test_whatever_is_listed_without_conditions_is_allowed(question: _Question) -> None:
    """Every request that lies in an unconditional permission, with whatever context."""
    world, request, now = question
    snapshot = world.snapshot()
    listed = permissions(request, snapshot, now)
    for permission, action, resource in product(listed.permissions, ACTIONS, RESOURCES):
        asked = changed(request, action=action, resource=resource)
        if not permission.conditions and lies_in(permission, asked):
            event("unconditional")
            assert isinstance(decide(asked, snapshot, now), Allow)


@laws
@given(questions(MILD))
def test_nothing_is_listed_for_a_request_that_is_denied_whatever_it_asks(question: _Question) -> None:
    """The denials of a session that may do nothing are those that every check under it has."""
    world, request, now = question
    world = replace(world, policies=())
    snapshot = world.snapshot()
    listed = permissions(request, snapshot, now)
    decision = decide(request, snapshot, now)
    expected = () if isinstance(decision, Allow) else decision.reasons
    lasting = [denial for denial in listed.denials if denial.code not in _ABOUT_ONE_CALL]
    assert lasting == [denial for denial in expected if denial.code not in _ABOUT_ONE_CALL]
    assert not (listed.denials and listed.permissions)
    # A session longer than its entitlement allows is denied each call, by a limit.
    too_long = any(denial.code is Code.POLICY_LIMIT for denial in expected)
    assert not (too_long and listed.permissions)


@laws
@given(questions(MILD))
def test_the_list_stands_until_its_end(question: _Question) -> None:
    """With nothing written, it is the same at every instant before `valid_until`."""
    world, request, now = question
    snapshot = world.snapshot()
    listed = permissions(request, snapshot, now)
    end = 40 if listed.valid_until is None else listed.valid_until
    for instant in range(now + 1, min(end, 40)):
        later = permissions(request, snapshot, Instant(instant))
        assert (later.permissions, _codes(later.denials)) == (listed.permissions, _codes(listed.denials))


def _codes(denials: tuple[Denial, ...]) -> list[Code]:
    return [denial.code for denial in denials]
