"""Configuration: parsed once into frozen values; anything unknown, missing or contradictory refuses to start.

A configuration file is YAML with the fields of `Settings`. Every setting has a default that is safe on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pdp.core.lawful import fault_of_text
from pdp.core.model import Duration, Instant
from pdp.core.scope import IdentityScope, PatternError, is_pattern
from pdp.core.wording import SECOND
from pdp.evidence.line.masking import MaskRule, complaints_about
from pdp.governance.review_queue import ReviewTimes
from pdp.governance.roles import Role
from pdp.governance.tokens import is_hash
from pdp.state.document import Document, DocumentError, Problem, parse_yaml
from pdp.state.fields import decode
from pdp.state.scalar_text import place_inside

_L = TypeVar("_L", bound="Listener")

_LONGEST_SOCKET_PATH = 107
"""Bytes that the kernel takes for the path of a Unix socket."""
_COLLECTORS = ("http://", "https://")
_LAST_PORT = 65_535
_LOOPBACK = ("127.0.0.1:", "[::1]:")
"""Not `localhost`, which is two addresses, and somebody else may hold one of them."""


class Tls(Struct, frozen=True, kw_only=True):
    """Certificates of a listener; with them every caller must show one signed by `client_ca`."""

    certificate: str
    key: str
    client_ca: str


class Listener(Struct, frozen=True, kw_only=True):
    """Where a door listens."""

    address: str = ""
    """`unix:/path`, or `host:port`: loopback, or any address with `tls`. Empty: a socket in the data directory."""
    mode: str = ""
    """Mode of the socket file, octal. Empty: 0660 for decisions, 0600 for administration."""
    tls: Tls | None = None
    callers: dict[str, list[str]] = {}
    """Patterns of subjects by pattern of caller: whom a caller may ask about besides itself."""


class HashedToken(Struct, frozen=True, kw_only=True):
    """A bearer token that ends."""

    hash: str
    """`sha256:` and 64 hexadecimal digits, as `pdp admin token` prints it."""
    expires_at: Instant | None = None
    """By the wall clock; None: never."""


class PrincipalSettings(Struct, frozen=True, kw_only=True):
    """Who administers: what it may do, and how it is told from others."""

    roles: frozenset[Role] = frozenset()
    groups: frozenset[str] = frozenset()
    """Teams and boards it belongs to."""
    identities: IdentityScope = IdentityScope([])
    """Patterns of the identities it may ask for."""
    certificates: list[str] = []
    """A URI (a SPIFFE ID, or a pattern of them), `dns:<name>` or `cn:<name>` of a client certificate."""
    tokens: list[str | HashedToken] = []
    """Hashes of bearer tokens."""


class Administration(Listener, frozen=True, kw_only=True):
    """Where the administration door listens, and whom it knows."""

    principals: dict[str, PrincipalSettings] = {}
    """By name, which facts and evidence carry. `local` is whoever reaches a Unix socket without a token."""


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds on what is taken on."""

    calls: int = 512
    """Calls of one service under way at once; further ones are RESOURCE_EXHAUSTED."""
    streams: int = 2048
    """Streams and watches open at once, besides calls."""
    waiting: int = 1024
    """Decisions that wait at once, for a revision or for the disk; further ones are OVERLOADED."""
    watches: int = 1024
    batch: int = 1000
    """Items of one batch."""
    facts: int = 10_000
    """Facts of one administrative write."""
    message_bytes: int = 4_194_304
    """Size of one message to either door."""


class State(Struct, frozen=True, kw_only=True):
    """How the facts are kept up to date."""

    max_staleness: Duration = Duration(30 * SECOND)
    """Age of the last heartbeat at which decisions become STATE_STALE."""
    heartbeat: Duration = Duration(SECOND)
    """Interval of the store's heartbeats."""


class Journal(Struct, frozen=True, kw_only=True):
    """How evidence is kept."""

    max_buffered: int = 65_536
    """Records that may wait for the disk."""
    max_buffered_bytes: int = 268_435_456
    """Bytes of decisions, encoded, that may wait for it."""
    segment_bytes: int = 67_108_864
    flush_interval: Duration = Duration(SECOND // 20)
    """Longest time until a buffered record is on disk."""
    compress: bool = True
    """Whether sealed segments are compressed."""
    keep_for: Duration | None = None
    """Age of its last record at which a sealed segment is removed; None: never."""
    keep_bytes: int | None = None
    """What all segments may take before the oldest are removed; None: whatever they do."""
    mask: list[MaskRule] = []
    """Attributes of requests that are on record as digests only."""


class Telemetry(Struct, frozen=True, kw_only=True):
    """Where spans and metrics go."""

    otlp_endpoint: str = ""
    """`http://host:port` (plain text) or `https://host:port` of an OTLP/gRPC collector; empty: nothing is exported."""
    sample_ratio: float = 0.01
    """Share of routine allows without a parent whose spans are exported; denials and durable decisions always are."""
    resource_ids: bool = False
    """Whether spans carry resource ids, which may be personal."""
    prometheus_port: int = 0
    """Port on loopback for metrics; 0: none."""
    max_backlog: int = 1_000_000
    """Records of the journal that the export may be behind; routine allows further behind are given up."""
    logs: bool = False
    """Whether decisions, changes, lapses and administration are exported as log records too."""
    required: bool = False
    """Whether evidence that is not exported yet is kept, however long `journal.keep_for` and `keep_bytes` say."""


class Settings(Struct, frozen=True, kw_only=True):
    """All of the sidecar's configuration."""

    data_dir: str = "data"
    """Where the database, the journal and the sockets are; made with mode 0700."""
    policies: list[str] = []
    """Directories of policies; the baseline always applies besides."""
    shadow_policies: list[str] = []
    """Directories of a second set, decided beside the one in force to record what it would change; changes nothing."""
    decisions: Listener = Listener()
    administration: Administration = Administration()
    limits: Limits = Limits()
    state: State = State()
    journal: Journal = Journal()
    telemetry: Telemetry = Telemetry()
    reviews: ReviewTimes = ReviewTimes()
    decision_log: bool = False
    """Whether each decision is also a log line on standard output."""
    drain: Duration = Duration(5 * SECOND)
    """Longest time from SIGTERM to exit."""

    @property
    def database(self) -> Path:
        """The embedded store."""
        return Path(self.data_dir) / "facts.db"

    @property
    def journal_dir(self) -> Path:
        """The journal's segments."""
        return Path(self.data_dir) / "journal"

    @property
    def policy_archive(self) -> Path:
        """The policy sets that were ever in force."""
        return Path(self.data_dir) / "policies"

    def decision_address(self) -> str:
        """Where DecisionService listens."""
        return self.decisions.address or f"unix:{Path(self.data_dir).absolute() / 'pdp.sock'}"

    def administration_address(self) -> str:
        """Where GovernanceService listens."""
        return self.administration.address or f"unix:{Path(self.data_dir).absolute() / 'admin.sock'}"


def load(path: Path) -> Settings:
    """Read a configuration file; raise DocumentError with every problem, or OSError."""
    content = path.read_bytes()
    document, text = parse_yaml(content, str(path)), content.decode("utf-8-sig")
    settings, problems = decode(document, (), Settings, document.data)
    if settings is None or problems:
        raise DocumentError(tuple(problems))
    settings = _relative_to(settings, path.parent)
    faults = (*_faults(settings, document), *_faults_of_masks(settings.journal.mask, document, text))
    if faults:
        raise DocumentError(faults)
    return settings


def check(settings: Settings) -> Settings:
    """Return settings that did not come from a file, unless they contradict themselves; raise DocumentError."""
    document = parse_yaml("{}", "settings")
    faults = (*_faults(settings, document), *_faults_of_masks(settings.journal.mask, document, ""))
    if faults:
        raise DocumentError(faults)
    return settings


def _relative_to(settings: Settings, base: Path) -> Settings:
    """Return the settings with relative paths taken from the file's own directory."""
    return replace(
        settings,
        data_dir=str(base / settings.data_dir),
        policies=[str(base / directory) for directory in settings.policies],
        shadow_policies=[str(base / directory) for directory in settings.shadow_policies],
        decisions=_listener_relative_to(settings.decisions, base),
        administration=_listener_relative_to(settings.administration, base),
    )


def _listener_relative_to(listener: _L, base: Path) -> _L:
    if listener.tls is None:
        return listener
    tls = listener.tls
    return replace(
        listener,
        tls=Tls(certificate=str(base / tls.certificate), key=str(base / tls.key), client_ca=str(base / tls.client_ca)),
    )


def _faults(settings: Settings, document: Document) -> Iterator[Problem]:
    for name, directories in (("policies", settings.policies), ("shadow_policies", settings.shadow_policies)):
        for directory in directories:
            if not Path(directory).is_dir():
                yield document.problem((name,), f"`{directory}` is not a directory")
    yield from _faults_of_listener("decisions", settings.decisions, settings.decision_address(), document)
    yield from _faults_of_listener(
        "administration", settings.administration, settings.administration_address(), document
    )
    if settings.administration.callers:
        yield document.problem(
            ("administration", "callers"), "is for `decisions`: `principals` says who may administer"
        )
    yield from _faults_of_principals(settings.administration.principals, document)
    yield from _faults_of_access(settings.administration, settings.administration_address(), document)
    tls, own = settings.decisions.tls, settings.administration.tls
    if tls is not None and own is not None and Path(tls.client_ca).resolve() == Path(own.client_ca).resolve():
        message = "must not be that of `decisions`: who may ask must not thereby reach administration"
        yield document.problem(("administration", "tls", "client_ca"), message)
    if settings.decision_address() == settings.administration_address():
        yield document.problem(("administration", "address"), "must differ from the address of `decisions`")
    yield from _faults_of_values(settings, document)


def _faults_of_values(settings: Settings, document: Document) -> Iterator[Problem]:
    if settings.state.max_staleness <= settings.state.heartbeat:
        yield document.problem(("state", "max_staleness"), "must be longer than `heartbeat`")
    keep_bytes, segment_bytes = settings.journal.keep_bytes, settings.journal.segment_bytes
    if keep_bytes is not None and keep_bytes < segment_bytes:
        yield document.problem(("journal", "keep_bytes"), "must not be less than `segment_bytes`")
    yield from _faults_of_telemetry(settings.telemetry, document)
    for group in ("limits", "journal", "reviews"):
        values: Struct = getattr(settings, group)
        for name in values.__struct_fields__:
            value = getattr(values, name)
            if type(value) is int and value < 1:
                yield document.problem((group, name), "must be at least 1")


def _faults_of_telemetry(telemetry: Telemetry, document: Document) -> Iterator[Problem]:
    if not 0.0 <= telemetry.sample_ratio <= 1.0:
        yield document.problem(("telemetry", "sample_ratio"), "must be between 0 and 1")
    if telemetry.max_backlog < 1:
        yield document.problem(("telemetry", "max_backlog"), "must be at least 1")
    endpoint = telemetry.otlp_endpoint
    if endpoint and not endpoint.startswith(_COLLECTORS):
        yield document.problem(("telemetry", "otlp_endpoint"), f"`{endpoint}` must begin with `http://` or `https://`")
    if telemetry.logs and not endpoint:
        yield document.problem(("telemetry", "logs"), "needs `otlp_endpoint`: nothing would ever be exported")
    if telemetry.required and not endpoint:
        yield document.problem(("telemetry", "required"), "needs `otlp_endpoint`: nothing would ever be exported")
    if not 0 <= telemetry.prometheus_port <= _LAST_PORT:
        yield document.problem(("telemetry", "prometheus_port"), f"must be between 0 and {_LAST_PORT}")


def _faults_of_masks(rules: Sequence[MaskRule], document: Document, text: str) -> Iterator[Problem]:
    """Yield what is wrong with masks, in an expression at its own line and column."""
    for number, rule in enumerate(rules):
        for complaint in complaints_about(rule):
            whole = document.problem(("journal", "mask", number, *complaint.path), complaint.message)
            if complaint.line and rule.when is not None:
                start, inside = (whole.line, whole.column), (complaint.line, complaint.column)
                line, column = place_inside(text, start, rule.when, inside)
                whole = replace(whole, line=line, column=column)
            yield whole


def _faults_of_listener(name: str, listener: Listener, address: str, document: Document) -> Iterator[Problem]:
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        if len(path.encode()) > _LONGEST_SOCKET_PATH:
            message = f"`{path}` is longer than the {_LONGEST_SOCKET_PATH} bytes a socket's path may have"
            yield document.problem((name, "address"), message)
        if listener.tls is not None:
            yield document.problem((name, "tls"), "is not for Unix sockets; their file mode admits callers")
    elif listener.mode:
        yield document.problem((name, "mode"), f"`{address}` is not a Unix socket, so it has no file mode")
    if not address.startswith(("unix:", *_LOOPBACK)) and listener.tls is None:
        yield document.problem((name, "address"), f"`{address}` is not loopback, so `tls` is required")
    if listener.mode and not (listener.mode.isdigit() and set(listener.mode) <= set("01234567")):
        yield document.problem((name, "mode"), f"`{listener.mode}` is not an octal file mode")
    if listener.callers and listener.tls is None:
        yield document.problem((name, "callers"), "needs `tls`: without it callers have no identity")
    if listener.tls is not None:
        yield from _faults_of_tls(name, listener.tls, document)
    for caller, subjects in listener.callers.items():
        yield from _faults_of_patterns(name, caller, subjects, document)


def _faults_of_tls(name: str, tls: Tls, document: Document) -> Iterator[Problem]:
    for field in ("certificate", "key", "client_ca"):
        path = Path(getattr(tls, field))
        if not path.is_file():
            yield document.problem((name, "tls", field), f"`{path}` is not a file")


def _faults_of_patterns(name: str, caller: str, subjects: list[str], document: Document) -> Iterator[Problem]:
    for pattern in (caller, *subjects):
        try:
            IdentityScope([pattern])
        except PatternError as error:
            yield document.problem((name, "callers", caller), str(error))


def _faults_of_principals(principals: Mapping[str, PrincipalSettings], document: Document) -> Iterator[Problem]:
    claimed: dict[str, str] = {}
    for name, principal in principals.items():
        path = ("administration", "principals", name)
        for text in (name, *principal.groups):
            if fault := fault_of_text(text):
                yield document.problem(path, f"a name {fault}")
        for number, certificate in enumerate(principal.certificates):
            place = (*path, "certificates", number)
            if fault := _fault_of_certificate(certificate) or _fault_of_claim(claimed, certificate, name):
                yield document.problem(place, fault)
        for number, token in enumerate(principal.tokens):
            place = (*path, "tokens", number)
            hashed = token if isinstance(token, str) else token.hash
            if not is_hash(hashed):
                # What stands there may be the token itself, which must get into no log.
                yield document.problem(place, "must be `sha256:` and 64 lower-case hexadecimal digits")
            elif fault := _fault_of_claim(claimed, hashed, name):
                yield document.problem(place, fault)


def _fault_of_claim(claimed: dict[str, str], proof: str, name: str) -> str:
    """Return a fault if a certificate or token is somebody's already; else note that it is this principal's."""
    holder = claimed.setdefault(proof, name)
    return "" if holder == name else f"is that of `{holder}` already: nobody could tell the two apart"


def _fault_of_certificate(text: str) -> str:
    if fault := fault_of_text(text):
        return fault
    kind, _, name = text.partition(":")
    if kind in ("dns", "cn"):
        return "must name somebody" if not name else "may be a pattern only if it is a URI" if is_pattern(name) else ""
    if not name:
        return f"`{text}` must be a URI, `dns:<name>` or `cn:<name>`"
    try:
        IdentityScope([text])
    except PatternError as error:
        return str(error)
    return ""


def _faults_of_access(administration: Administration, address: str, document: Document) -> Iterator[Problem]:
    """Yield what would leave principals, or everybody, outside without a word."""
    principals = administration.principals
    for name, principal in principals.items():
        if principal.certificates and administration.tls is None:
            place = ("administration", "principals", name, "certificates")
            yield document.problem(place, "need `tls`: without it nobody shows a certificate")
    if not address.startswith("unix:") and not any(one.certificates or one.tokens for one in principals.values()):
        message = f"nobody could administer at `{address}`: no principal has a certificate or a token"
        yield document.problem(("administration", "principals"), message)
