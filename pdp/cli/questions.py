"""The question a person asks: from options, or from a request as JSON, to the fields of a check.

Rule: what cannot be read is refused by name; whether the rest makes sense is for the client and the sidecar to say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

import typer

from pdp.cli.pairs import no_constant, pairs_of, typed
from pdp.cli.request_file import Given, read_request
from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from sessionpdp import Credential
    from sessionpdp.request import CheckFields, PermissionsFields

_QUESTION = "the question"
_CREDENTIAL = "the credential that was shown"

_Words: TypeAlias = list[str]


def _asked(name: str, help_: str, metavar: str = "TEXT") -> object:
    return typer.Option(name, help=help_, metavar=metavar, rich_help_panel=_QUESTION, show_default=False)


def _shown(name: str, help_: str, metavar: str = "TEXT") -> object:
    return typer.Option(name, help=help_, metavar=metavar, rich_help_panel=_CREDENTIAL, show_default=False)


@dataclass(frozen=True, slots=True)
class Question:
    """Members of a request, by the names they have in AuthZEN and in the contract."""

    given: Given = field(default_factory=dict)

    def check(self) -> CheckFields:
        """Return the fields of a check; raise CommandError for what is missing."""
        from sessionpdp import Action, Resource  # noqa: PLC0415  # gRPC takes longer to load than `--help` to print

        action, resource = self._part("action"), self._part("resource")
        fields = cast("CheckFields", dict(self.permissions()))
        fields["action"] = Action(self._needed("action", "name"), _properties(action))
        type_, id_ = self._needed("resource", "type"), self._needed("resource", "id")
        fields["resource"] = Resource(type_, id_, _properties(resource))
        fields["request_id"] = self._text("request_id")
        fields["traceparent"] = self._text("traceparent")
        return fields

    def permissions(self) -> PermissionsFields:
        """Return what says whose permissions are meant; raise CommandError if nothing does."""
        from sessionpdp import Subject  # noqa: PLC0415  # see `check`

        subject = self._part("subject")
        type_ = cast("str", subject.get("type", ""))
        fields: PermissionsFields = {"subject": Subject(self._needed("subject", "id"), type_, _properties(subject))}
        fields["session"] = self._text("session_id")
        fields["task"] = self._text("task_id")
        fields["context"] = self._part("context")
        fields["at_least_revision"] = cast("int", self.given.get("at_least_revision", 0))
        if "credential" in self.given:
            fields["credential"] = _credential(self._part("credential"))
        return fields

    def _part(self, name: str) -> Given:
        return cast("Given", self.given.get(name, {}))

    def _text(self, name: str) -> str:
        return cast("str", self.given.get(name, ""))

    def _needed(self, name: str, member: str) -> str:
        value = self._part(name).get(member)
        if not value:
            message = f"the question has no {name}"
            raise CommandError(message, hint=f"give `--{name}`, or a request as JSON with `{name}.{member}`")
        return cast("str", value)


_CREDENTIAL_MEMBERS = ("id", "issuer", "subject", "issued_at", "expires_at")
"""Members of a credential, in the order of the options of `whose_of`."""


def whose_of(
    *,
    subject: Annotated[str, _asked("--subject", "Identity that acts.", "ID")] = "",
    subject_type: Annotated[str, _asked("--subject-type", "Its kind, e.g. `workload`; must then be that.")] = "",
    session: Annotated[
        str, _asked("--session", "Session to decide under. Without it: found by subject and task.", "ID")
    ] = "",
    task: Annotated[str, _asked("--task", "Task that justifies the action.", "ID")] = "",
    context: Annotated[
        _Words | None,
        _asked(
            "--context", "Attribute of the call; numbers, true, false, null and JSON are read as such.", "KEY=VALUE"
        ),
    ] = None,
    context_json: Annotated[str, _asked("--context-json", "Attributes of the call as a JSON object.", "JSON")] = "",
    at_least_revision: Annotated[
        int, _asked("--at-least-revision", "Wait until this revision is applied, e.g. that of a write.", "REVISION")
    ] = 0,
    credential_id: Annotated[str, _shown("--credential-id", "What a revocation can name, e.g. a `jti`.")] = "",
    credential_issuer: Annotated[str, _shown("--credential-issuer", "Who issued it.")] = "",
    credential_subject: Annotated[str, _shown("--credential-subject", "To whom it was issued.")] = "",
    credential_issued_at: Annotated[str, _shown("--credential-issued-at", "When, in RFC 3339.", "TIME")] = "",
    credential_expires_at: Annotated[str, _shown("--credential-expires-at", "Its end, in RFC 3339.", "TIME")] = "",
) -> Given:
    """Return the members of a request that say who acts, and in which circumstances."""
    shown = (credential_id, credential_issuer, credential_subject, credential_issued_at, credential_expires_at)
    return _without_empty(
        {
            "subject": _without_empty({"id": subject, "type": subject_type}),
            "session_id": session,
            "task_id": task,
            "context": {**_json_context(context_json), **_typed_context(context or ())},
            "credential": _without_empty(dict(zip(_CREDENTIAL_MEMBERS, shown, strict=True))),
            "at_least_revision": at_least_revision,
        }
    )


def what_of(
    *,
    file: Annotated[
        str,
        typer.Argument(
            help="Request as JSON, shaped as in AuthZEN: a file, or `-` for standard input. Options add to it.",
            metavar="FILE",
            show_default=False,
        ),
    ] = "",
    action: Annotated[str, _asked("--action", "What is to be done, e.g. `rows.read`.", "NAME")] = "",
    resource: Annotated[str, _asked("--resource", "To what, e.g. `database:prod/users`.", "TYPE:ID")] = "",
    request_id: Annotated[str, _asked("--request-id", "Your name for this request, for correlation.", "ID")] = "",
    traceparent: Annotated[str, _asked("--traceparent", "W3C trace context the decision belongs to.")] = "",
) -> Given:
    """Return the members of a request that say what is to be done; those of a file, if one is named, beneath."""
    kind, colon, path = resource.partition(":")
    if resource and not (kind and colon and path):
        message = f"`--resource` must be `type:id`, got `{resource}`"
        raise CommandError(message)
    said = _without_empty(
        {
            "action": _without_empty({"name": action}),
            "resource": _without_empty({"type": kind, "id": path}),
            "request_id": request_id,
            "traceparent": traceparent,
        }
    )
    return merged(read_request(file) if file else {}, said)


def merged(beneath: Given, above: Given) -> Given:
    """Return both, mappings member by member; where both say something, what is above counts."""
    result = dict(beneath)
    for name, value in above.items():
        below = result.get(name)
        result[name] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _without_empty(members: Given) -> Given:
    return {name: value for name, value in members.items() if value not in ("", 0, {})}


def _json_context(text: str) -> Given:
    if not text:
        return {}
    try:
        value = json.loads(text, parse_constant=no_constant)
    except ValueError as error:
        message = f"`--context-json` is not JSON: {error}"
        raise CommandError(message) from None
    if not isinstance(value, dict):
        message = "`--context-json` must be a JSON object"
        raise CommandError(message)
    return value


def _typed_context(words: Sequence[str]) -> Given:
    context: Given = {}
    for key, text in pairs_of("--context", words):
        if key in context:
            message = f"`--context {key}=…` is given twice"
            raise CommandError(message, hint=f"for a list: `--context '{key}=[1, 2]'`")
        context[key] = typed(text)
    return context


def _properties(part: Given) -> Given | None:
    return cast("Given | None", part.get("properties"))


def _credential(part: Given) -> Credential:
    from sessionpdp import Credential  # noqa: PLC0415  # see `Question.check`

    return Credential(
        id=cast("str", part.get("id", "")),
        issuer=cast("str", part.get("issuer", "")),
        subject=cast("str", part.get("subject", "")),
        issued_at=_time("credential.issued_at", part),
        expires_at=_time("credential.expires_at", part),
    )


def _time(name: str, part: Given) -> datetime | None:
    text = part.get(name.rpartition(".")[2])
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = f"`{name}` must be a time with a zone, e.g. `2026-03-01T09:00:00Z`, got `{text}`"
        raise CommandError(message)
    return moment
