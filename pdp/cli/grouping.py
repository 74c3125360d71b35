"""Options that several commands share, declared once as a function from options to a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature


def with_options(**groups: Callable[..., object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that fills each named parameter with what its group makes of its own options."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in _parameters(command) if each.name not in groups]
        shared = {name: _parameters(group) for name, group in groups.items()}

        @wraps(command)
        def run(**given: object) -> None:
            values = {
                name: group(**{each.name: given.pop(each.name) for each in shared[name]})
                for name, group in groups.items()
            }
            command(**values, **given)

        declare(run, [*(each for parameters in shared.values() for each in parameters), *own])
        return run

    return decorate


def _parameters(function: Callable[..., object]) -> list[Parameter]:
    return list(signature(function, eval_str=True).parameters.values())


def declare(function: Callable[..., None], parameters: list[Parameter]) -> None:
    """Make a function look as if it had these parameters: typer asks for signature and annotations."""
    ordered = sorted(parameters, key=lambda each: each.default is not Parameter.empty)
    shown = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in ordered]
    annotations: Mapping[str, object] = {each.name: each.annotation for each in shown}
    function.__signature__ = Signature(shown)  # type: ignore[attr-defined]  # read by inspect.signature
    function.__annotations__ = {**annotations, "return": None}
