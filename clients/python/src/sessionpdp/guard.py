"""Guarding code: a context manager, a decorator, and what every guard does with an answer.

Rule 1: guarded code runs after an allow, and never otherwise.
Rule 2: an obligation the guard has no handler for turns the allow into a deny, before any is fulfilled.
"""

# ruff: noqa: ASYNC109 - `timeout` becomes the deadline that the PDP is told, not only a local limit

from __future__ import annotations

import functools
import inspect
import string
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeAlias, TypeVar, Unpack, cast

from sessionpdp.decision import Decision, GuardCode, Obligation
from sessionpdp.request import Attributes, Check, CheckFields, Credential, InvalidCheck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator

    from sessionpdp.request import Action, Resource, Subject

P = ParamSpec("P")
R = TypeVar("R")

Fulfil: TypeAlias = Mapping[str, Callable[[Obligation], object]]
"""Handler of each obligation type; asynchronous guards await what it returns if that is awaitable.

An exception that a handler raises keeps the guarded code from running.
"""


class Checker(Protocol):
    """What a synchronous guard needs of a client."""

    def check(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Decision:
        """Ask for one decision; must not raise for a deny."""
        ...


class AsyncChecker(Protocol):
    """What an asynchronous guard needs of a client."""

    async def check(self, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Decision:
        """Ask for one decision; must not raise for a deny."""
        ...


class Guarding:
    """Gives a client its context manager."""

    @contextmanager
    def guard(self: Checker, *, timeout: float | None = None, **fields: Unpack[CheckFields]) -> Iterator[Decision]:
        """Run the block after an allow; raise `AccessDenied` before it otherwise.

        The block gets the decision, and with it the obligations, which are its to fulfil.
        """
        yield self.check(timeout=timeout, **fields).require()


class AsyncGuarding:
    """Gives an asyncio client its context manager."""

    @asynccontextmanager
    async def guard(
        self: AsyncChecker, *, timeout: float | None = None, **fields: Unpack[CheckFields]
    ) -> AsyncIterator[Decision]:
        """Run the block after an allow, as `Guarding.guard` does."""
        yield (await self.check(timeout=timeout, **fields)).require()


def unguarded(parameter: str, names: Collection[str]) -> frozenset[str]:
    """Return the names that need no check; raise TypeError for a text, whose characters or parts would all be open."""
    if isinstance(names, str):
        message = f"{parameter} must be a collection of names, not the text `{names}`"
        raise TypeError(message)
    return frozenset(names)


def decide(pdp: Checker, build_check: Callable[[], Check | None], fulfil: Fulfil) -> Decision:
    """Ask for what the guard's rule builds, and fulfil the obligations of an allow.

    A rule that builds nothing, or a check that cannot be asked, is a deny with a `GuardCode`.
    """
    try:
        check = build_check()
        if check is None:
            return no_rule()
        decision = pdp.check(**check.fields())
    except InvalidCheck as error:
        return Decision.denied(GuardCode.CHECK_INVALID, str(error))
    decision, obligations = _accept(decision, fulfil)
    for obligation in obligations:
        if inspect.isawaitable(fulfil[obligation.type](obligation)):
            msg = f"the handler of obligation `{obligation.type}` is asynchronous, its guard is not"
            raise TypeError(msg)
    return decision


async def decide_async(pdp: AsyncChecker, build_check: Callable[[], Check | None], fulfil: Fulfil) -> Decision:
    """Ask and fulfil as `decide` does, awaiting what handlers return."""
    try:
        check = build_check()
        if check is None:
            return no_rule()
        decision = await pdp.check(**check.fields())
    except InvalidCheck as error:
        return Decision.denied(GuardCode.CHECK_INVALID, str(error))
    decision, obligations = _accept(decision, fulfil)
    for obligation in obligations:
        result = fulfil[obligation.type](obligation)
        if isinstance(result, Awaitable):
            await result
    return decision


def no_rule() -> Decision:
    """Return the deny for what no rule covers."""
    return Decision.denied(GuardCode.GUARD_MISSING, "no rule says how to check this")


def _accept(decision: Decision, fulfil: Fulfil) -> tuple[Decision, tuple[Obligation, ...]]:
    """Return the decision, and the obligations to fulfil now (rule 2)."""
    if not decision.allowed:
        return decision, ()
    obligations = decision.obligations
    for obligation in obligations:
        if obligation.type not in fulfil:
            message = f"no handler for obligation `{obligation.type}`"
            return decision.overruled(GuardCode.OBLIGATION_UNKNOWN, message), ()
    return decision, obligations


def guarded(
    pdp: Checker | AsyncChecker,
    *,
    subject: str | Callable[..., str | Subject],
    action: str | Callable[..., str | Action],
    resource: str | Callable[..., str | Resource],
    session: str | Callable[..., str] = "",
    task: str | Callable[..., str] = "",
    context: Attributes | Callable[..., Attributes | None] | None = None,
    credential: Credential | Callable[..., Credential | None] | None = None,
    fulfil: Fulfil | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that it runs after an allow, and raises `AccessDenied` otherwise.

    A field is a callable, which gets the arguments of the call, or text whose `{placeholders}` name
    parameters of the function (`"database:{name}"`, `"file:{document.path}"`). A placeholder that is only
    part of the text fills one segment: a value that is empty or contains a separator is denied, so that
    an argument cannot lead to another resource. Use a callable where that is meant, or to format a value.

    Coroutine functions need an asyncio client, other functions a blocking one; generators are refused,
    because they run after the call. Raises `TypeError` for these, `ValueError` for a bad placeholder.
    """
    fields = {"subject": subject, "action": action, "resource": resource, "session": session, "task": task}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        plan = _Plan(inspect.signature(function), {**fields, "context": context, "credential": credential})
        plan.refuse_bad_placeholders()
        return _guard_function(function, pdp, plan, fulfil or {})

    return decorate


def _guard_function(
    function: Callable[P, R], pdp: Checker | AsyncChecker, plan: _Plan, fulfil: Fulfil
) -> Callable[P, R]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = f"`{function.__qualname__}` is a generator, which runs after the check"
        raise TypeError(msg)
    asynchronous = inspect.iscoroutinefunction(function)
    if asynchronous != inspect.iscoroutinefunction(pdp.check):
        wanted = "an asyncio" if asynchronous else "a blocking"
        msg = f"`{function.__qualname__}` needs {wanted} client"
        raise TypeError(msg)

    @functools.wraps(function)
    def guarded_function(*args: P.args, **kwargs: P.kwargs) -> R:
        decide(cast("Checker", pdp), lambda: plan.check(args, kwargs), fulfil).require()
        return function(*args, **kwargs)

    @functools.wraps(function)
    async def guarded_coroutine(*args: P.args, **kwargs: P.kwargs) -> object:
        decision = await decide_async(cast("AsyncChecker", pdp), lambda: plan.check(args, kwargs), fulfil)
        decision.require()
        return await cast("Awaitable[object]", function(*args, **kwargs))

    return cast("Callable[P, R]", guarded_coroutine) if asynchronous else guarded_function


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a call's arguments become a check."""

    signature: inspect.Signature
    fields: Mapping[str, object]

    def refuse_bad_placeholders(self) -> None:
        for field, value in self.fields.items():
            if isinstance(value, str):
                for _, name, form, conversion in string.Formatter().parse(value):
                    self._refuse_bad_placeholder(field, name, form or conversion)

    def _refuse_bad_placeholder(self, field: str, name: str | None, form: str | None) -> None:
        if name is None:
            return  # literal text
        parameter = name.partition(".")[0].partition("[")[0]
        if parameter not in self.signature.parameters:
            msg = f"`{field}` names `{parameter}`, which is no parameter of the function"
            raise ValueError(msg)
        if form:
            msg = f"`{field}` formats `{name}`, which a callable must do"
            raise ValueError(msg)

    def check(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Check:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = {field: _value(field, planned, bound) for field, planned in self.fields.items()}
        return Check(**cast("CheckFields", values))


def _value(field: str, planned: object, bound: inspect.BoundArguments) -> object:
    if callable(planned):
        return planned(*bound.args, **bound.kwargs)
    if isinstance(planned, str):
        return _filled(field, planned, bound.arguments)
    return planned


def _filled(field: str, template: str, arguments: Mapping[str, object]) -> str:
    """Fill the placeholders; raise `InvalidCheck` for a part that is not one segment."""
    text = ""
    separators = {"action": ".", "resource": "/:"}.get(field, "/")
    for literal, name, _, _ in string.Formatter().parse(template):
        text += literal
        if name is not None:
            part = str(string.Formatter().get_field(name, (), arguments)[0])
            if template != f"{{{name}}}" and (not part or any(mark in part for mark in separators)):
                msg = f"`{field}`: the value of `{{{name}}}` is not one segment"
                raise InvalidCheck(msg)
            text += part
    return text
