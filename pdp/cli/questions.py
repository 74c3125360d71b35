"""The question a person asks: from options, or from a request as JSON, to the fields of a check."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

import typer

from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sessionpdp.request import CheckFields, PermissionsFields

_QUESTION = "the question"
_CREDENTIAL = "the credential that was shown"

Given: TypeAlias = "dict[str, object]"
"""Members of a request as AuthZEN and the contract name them."""

_PARTS: Mapping[str, tuple[str, ...]] = {
    "subject": ("type", "id", "properties"),
    "action": ("name", "properties"),
    "resource": ("type", "id", "properties"),
    "credential": ("id", "issuer", "subject", "issued_at", "expires_at"),
}
_MEMBERS = (*_PARTS, "context", "session_id", "task_id", "request_id", "at_least_revision", "traceparent")
_TEXTS = {"type", "id", "name", "issuer", "subject", "session_id", "task_id", "request_id", "traceparent"}


@dataclass(frozen=True, slots=True)
class Question:
    """A request, not yet checked: that is for the client and the sidecar to do."""

    given: Given = field(default_factory=dict)

    def check(self) -> CheckFields:
        """Return the fields of a check; raise CommandError for what is missing."""
        from sessionpdp import Action, Resource  # noqa: PLC0415  # gRPC takes longer to load than `--help` to print

        action, resource = self._part("action"), self._part("resource")
        fields = cast("CheckFields", dict(self.permissions()))
        fields["action"] = Action(str(self._needed(action, "action", "name")), _properties(action))
        fields["resource"] = Resource(
            str(self._needed(resource, "resource", "type")),
            str(self._needed(resource, "resource", "id")),
            _properties(resource),
        )
        fields["request_id"] = str(self.given.get("request_id", ""))
        fields["traceparent"] = str(self.given.get("traceparent", ""))
        return fields

    def permissions(self) -> PermissionsFields:
        """Return what says whose permissions are meant."""
        from sessionpdp import Subject  # noqa: PLC0415  # see `check`

        subject = self._part("subject")
        id_ = str(self._needed(subject, "subject", "id"))
        fields: PermissionsFields = {"subject": Subject(id_, str(subject.get("type", "")), _properties(subject))}
        fields["session"] = str(self.given.get("session_id", ""))
        fields["task"] = str(self.given.get("task_id", ""))
        fields["context"] = cast("dict[str, object]", self.given.get("context", {}))
        fields["at_least_revision"] = cast("int", self.given.get("at_least_revision", 0))
        if "credential" in self.given:
            fields["credential"] = _credential(self._part("credential"))
        return fields

    def _part(self, name: str) -> Given:
        return cast("Given", self.given.get(name, {}))

    def _needed(self, part: Given, name: str, member: str) -> object:
        if not part.get(member):
            message = f"the question has no {name}"
            raise CommandError(message, hint=f"give `--{name}`, or a request as JSON with `{name}.{member}`")
        return part[member]


def question_of(
    *,
    request: Annotated[
        str,
        typer.Argument(
            help="Request as JSON, in a file or `-` for standard input; options take precedence over it.",
            metavar="[FILE]",
            show_default=False,
        ),
    ] = "",
    action: Annotated[
        str, typer.Option("--action", help="What is to be done, e.g. `rows.read`.", rich_help_panel=_QUESTION)
    ] = "",
    resource: Annotated[
        str,
        typer.Option("--resource", help="To what, as `type:id`.", rich_help_panel=_QUESTION, metavar="TYPE:ID"),
    ] = "",
    asker: Callable[..., Question] | None = None,
) -> Question:
    """Replaced below: see `_merged`."""
    raise NotImplementedError
