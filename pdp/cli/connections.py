"""Where a command asks: a target that was named, or the sockets in a sidecar's data directory."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdp.cli.options import CONNECTION, Ca, Certificate, Key, OptionalDataDir, Timeout, TokenFile
from pdp.cli.trouble import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc
    from sessionpdp import PDP
    from sessionpdp.v1.evidence_pb2_grpc import EvidenceServiceStub
    from sessionpdp.v1.governance_pb2_grpc import GovernanceServiceStub

DEFAULT_DATA_DIR = Path("data")
DEFAULT_TIMEOUT_S = 5.0
"""People wait longer than services; a decision itself takes well under a millisecond."""
DECISIONS_VARIABLE = "SESSIONPDP_TARGET"
ADMINISTRATION_VARIABLE = "SESSIONPDP_ADMIN_TARGET"
TOKEN_VARIABLE = "PDP_ADMIN_TOKEN"  # noqa: S105  # the name of a variable


@dataclass(frozen=True, slots=True)
class Tls:
    """What both sides show each other."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Door:
    """One listener of a sidecar, and how long to wait for it."""

    target: str
    """A gRPC name, e.g. `unix:/path` or `host:port`."""
    option: str
    """The option that can name another."""
    timeout_s: float
    data_dir: Path | None = None
    """The directory the target was taken from; None if it was named."""
    tls: Tls | None = None
    token: str = field(default="", repr=False)
    """What says who administers; empty: the transport does."""


def decisions_of(
    *,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            help=f"Address of the decision door, `unix:/path` or `host:port`. (env: `{DECISIONS_VARIABLE}`)",
            rich_help_panel=CONNECTION,
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = "",
    data_dir: OptionalDataDir = None,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    ca: Ca = None,
    cert: Certificate = None,
    key: Key = None,
) -> Door:
    """Return where decisions are asked for."""
    return _door("--target", target, data_dir, DECISIONS_VARIABLE, "pdp.sock", timeout, _tls(ca, cert, key))


def administration_of(
    *,
    admin: Annotated[
        str,
        typer.Option(
            "--admin",
            help=f"Address of the administration door, `unix:/path` or `host:port`. (env: `{ADMINISTRATION_VARIABLE}`)",
            rich_help_panel=CONNECTION,
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = "",
    data_dir: OptionalDataDir = None,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    ca: Ca = None,
    cert: Certificate = None,
    key: Key = None,
    token_file: TokenFile = None,
) -> Door:
    """Return where facts are changed, and as whom."""
    door = _door("--admin", admin, data_dir, ADMINISTRATION_VARIABLE, "admin.sock", timeout, _tls(ca, cert, key))
    return replace(door, token=_token(token_file))


def _door(
    option: str, target: str, data_dir: Path | None, variable: str, socket: str, timeout_s: float, tls: Tls | None
) -> Door:
    """Return the door; what was said comes before the environment, and an address before a directory."""
    if timeout_s <= 0:
        message = f"`--timeout` must be more than 0 seconds, got `{timeout_s:g}`"
        raise CommandError(message)
    named = target or ("" if data_dir is not None else os.environ.get(variable, ""))
    if named:
        _refuse_bare_path(option, named)
        return Door(named, option, timeout_s, tls=tls)
    directory = data_dir or DEFAULT_DATA_DIR
    return Door(f"unix:{directory.absolute() / socket}", option, timeout_s, directory, tls)


def _refuse_bare_path(option: str, target: str) -> None:
    """Refuse the path of a socket where gRPC would look for a host of that name."""
    # Unlike Path, these take any text, also one that is no path.
    if os.path.exists(target) and not os.path.isdir(target):  # noqa: PTH110, PTH112
        message = f"`{option}`: `{target}` is a file, not an address"
        raise CommandError(message, hint=f"write `unix:{target}`")


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | None:
    """Return the three files, or None if none is named: a sidecar has mutual TLS or none."""
    if ca is not None and certificate is not None and key is not None:
        return Tls(ca, certificate, key)
    if ca is None and certificate is None and key is None:
        return None
    message = "`--ca`, `--cert` and `--key` go together"
    raise CommandError(message)


def _token(file: Path | None) -> str:
    """Return the token of a file, or of the environment; never of the command line, which others can read."""
    text = os.environ.get(TOKEN_VARIABLE, "") if file is None else _read(file).decode(errors="replace")
    token = text.strip()
    if file is None and token:
        _refuse_path(token)
    named = f"`${TOKEN_VARIABLE}`" if file is None else f"`{file}`"
    if file is not None and not token:
        message = f"{named} is empty"
        raise CommandError(message)
    if not (token.isascii() and token.isprintable()) or " " in token:
        message = f"{named} is no token: one has neither blanks nor other than ASCII letters"
        raise CommandError(message)
    return token


def _refuse_path(token: str) -> None:
    """Refuse the path of a file where its content belongs."""
    if os.path.isfile(token):  # noqa: PTH113  # unlike Path, it takes any text, also one that is no path
        message = f"`${TOKEN_VARIABLE}` is the path of a file; it must be the token itself"
        raise CommandError(message, hint="`--token-file` names a file")


def _credentials(door: Door) -> grpc.ChannelCredentials | None:
    import grpc  # noqa: PLC0415  # gRPC takes longer to load than `--help` to print

    if door.tls is None:
        return None
    ca, certificate, key = (_read(path) for path in (door.tls.ca, door.tls.certificate, door.tls.key))
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"cannot read `{path}`: {(error.strerror or str(error)).lower()}"
        raise CommandError(message) from None


def unreachable(door: Door) -> CommandError:
    """Return the error for a door behind which nobody is."""
    message = f"no sidecar answers at `{door.target}`"
    if door.data_dir is None:
        return CommandError(message, hint=f"is it running, and is that its address? `{door.option}` names another")
    where = "" if door.data_dir == DEFAULT_DATA_DIR else f" --data-dir {door.data_dir}"
    hint = f"start one with `pdp serve{where}`, or say where it is with `--data-dir` or `{door.option}`"
    return CommandError(message, hint=hint)


@contextmanager
def asking(door: Door) -> Iterator[PDP]:
    """Yield the client of a decision door."""
    from sessionpdp import PDP  # noqa: PLC0415  # gRPC takes longer to load than `--help` to print

    with PDP(door.target, timeout=door.timeout_s, credentials=_credentials(door)) as pdp:
        yield pdp


@contextmanager
def administering(door: Door) -> Iterator[GovernanceServiceStub]:
    """Yield the stub of an administration door, whose calls carry the token; their errors become CommandError."""
    from sessionpdp.v1.governance_pb2_grpc import GovernanceServiceStub  # noqa: PLC0415

    with _administration(door) as channel:
        yield GovernanceServiceStub(channel)


@contextmanager
def auditing(door: Door) -> Iterator[EvidenceServiceStub]:
    """Yield the stub for what is on record, as `administering` does."""
    from sessionpdp.v1.evidence_pb2_grpc import EvidenceServiceStub  # noqa: PLC0415

    with _administration(door) as channel:
        yield EvidenceServiceStub(channel)


@contextmanager
def _administration(door: Door) -> Iterator[grpc.Channel]:
    import grpc  # noqa: PLC0415  # gRPC takes longer to load than `--help` to print
    from sessionpdp.transport import Endpoint  # noqa: PLC0415

    from pdp.cli.bearer import carrying  # noqa: PLC0415
    from pdp.cli.refusals import refusal_of  # noqa: PLC0415

    endpoint = Endpoint.of_administration(door.target, _credentials(door), ())
    if door.token and not endpoint.keeps_secrets():
        message = f"a token is not sent to `{door.target}` in plaintext"
        raise CommandError(message, hint="`--ca`, `--cert` and `--key` make the connection mTLS")
    with endpoint.channel() as channel:
        try:
            yield carrying(door.token, channel)
        except grpc.RpcError as error:
            raise refusal_of(error, door) from error
