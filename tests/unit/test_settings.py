"""Configuration is parsed once, and what is unknown, missing or contradictory refuses to start, by its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pdp.core.model import Duration, Instant
from pdp.core.scope import IdentityScope
from pdp.core.wording import SECOND
from pdp.governance.roles import Role
from pdp.settings import HashedToken, Limits, Listener, PrincipalSettings, Settings, Tls, check, load
from pdp.state.document import DocumentError
from tests.certificates import Authority

ROOT = Path(__file__).resolve().parents[2]
LIMITS, SETTINGS, MTLS = (
    "tests/integration/test_server_limits.py::",
    "tests/integration/test_server_settings.py::",
    "tests/integration/test_server_mtls.py::",
)
REVIEWS = "tests/integration/test_server_reviews.py::"
ROLES, PRINCIPALS = "tests/integration/test_server_roles.py::", "tests/unit/test_principals.py::"
REPLAY = "tests/integration/test_server_replay.py::"
LIFECYCLE = "tests/integration/test_server_lifecycle.py::"
ADMIN_TLS = SETTINGS + "test_administration_over_mutual_tls_asks_for_a_certificate"
MASKING = "tests/integration/test_masking_evidence.py::"
HANDSHAKE = MTLS + "test_a_certificate_of_another_authority_fails_the_handshake"
ADDRESS = SETTINGS + "test_address_and_mode_are_those_of_the_sockets"

TAKES_EFFECT = {
    "data_dir": SETTINGS + "test_data_dir_holds_the_database_the_journal_and_the_sockets",
    "policies": SETTINGS + "test_policies_restrict",
    "shadow_policies": REPLAY + "test_shadow_policies_record_what_they_would_change",
    "decisions.address": ADDRESS,
    "decisions.mode": ADDRESS,
    "decisions.tls.certificate": HANDSHAKE,
    "decisions.tls.key": HANDSHAKE,
    "decisions.tls.client_ca": HANDSHAKE,
    "decisions.callers": MTLS + "test_a_caller_asks_about_the_subjects_configured_for_it",
    "administration.address": ADDRESS,
    "administration.mode": ADDRESS,
    "administration.tls.certificate": ADMIN_TLS,
    "administration.tls.key": ADMIN_TLS,
    "administration.tls.client_ca": ADMIN_TLS,
    "administration.callers": "tests/unit/test_settings.py::test_a_contradiction_is_refused_at_its_place",
    "administration.principals.roles": ROLES + "test_a_role_permits_its_methods_and_no_others",
    "administration.principals.groups": PRINCIPALS + "test_a_token_is_that_of_its_principal",
    "administration.principals.identities": ROLES + "test_a_principal_asks_for_its_identities_alone",
    "administration.principals.certificates": ADMIN_TLS,
    "administration.principals.tokens": ROLES + "test_a_token_says_who_acts",
    "limits.calls": LIMITS + "test_more_calls_than_the_bound_are_refused",
    "limits.streams": LIMITS + "test_more_streams_than_the_bound_are_refused",
    "limits.waiting": LIMITS + "test_more_waiting_checks_than_the_bound_are_overloaded",
    "limits.watches": LIMITS + "test_more_watches_than_the_bound_are_refused",
    "limits.batch": LIMITS + "test_a_batch_beyond_the_bound_names_its_field",
    "limits.facts": LIMITS + "test_a_write_beyond_the_bound_names_its_field",
    "limits.message_bytes": LIMITS + "test_a_message_beyond_the_bound_is_refused",
    "state.max_staleness": SETTINGS + "test_state_is_stale_after_max_staleness_without_a_heartbeat",
    "state.heartbeat": SETTINGS + "test_heartbeats_keep_the_state_fresh",
    "journal.max_buffered": SETTINGS + "test_no_more_than_max_buffered_records_wait_for_the_disk",
    "journal.max_buffered_bytes": SETTINGS + "test_no_more_than_max_buffered_bytes_wait_for_the_disk",
    "journal.segment_bytes": SETTINGS + "test_a_segment_is_no_longer_than_segment_bytes",
    "journal.flush_interval": SETTINGS + "test_a_buffered_record_is_on_disk_after_flush_interval",
    "journal.compress": SETTINGS + "test_full_segments_are_compressed_if_it_is_said",
    "journal.keep_for": SETTINGS + "test_segments_older_than_keep_for_are_removed",
    "journal.keep_bytes": SETTINGS + "test_the_oldest_segments_beyond_keep_bytes_are_removed",
    "journal.mask.attributes": MASKING + "test_what_is_masked_is_nowhere_on_disk_nor_in_spans_and_log_lines",
    "journal.mask.when": MASKING + "test_a_mask_may_be_for_some_requests_only",
    "telemetry.otlp_endpoint": SETTINGS + "test_spans_go_to_otlp_endpoint",
    "telemetry.sample_ratio": SETTINGS + "test_sample_ratio_is_the_share_of_routine_allows_with_spans",
    "telemetry.resource_ids": SETTINGS + "test_resource_ids_are_on_spans_if_it_is_said",
    "telemetry.logs": "tests/integration/test_otlp_story.py::"
    "test_every_decision_and_call_is_a_log_record_that_names_its_span",
    "telemetry.required": SETTINGS + "test_what_is_not_exported_is_kept_if_export_is_required",
    "telemetry.max_backlog": SETTINGS + "test_routine_allows_beyond_max_backlog_are_given_up",
    "telemetry.prometheus_port": SETTINGS + "test_metrics_are_served_on_prometheus_port",
    "reviews.unused_after": REVIEWS + "test_an_entitlement_unused_for_long_is_proposed_for_removal_and_removed",
    "reviews.certify_ahead": REVIEWS + "test_a_certification_is_due_ahead_of_its_end",
    "reviews.broad_after": REVIEWS + "test_a_session_broader_than_used_is_narrowed_and_obeyed_at_once",
    "decision_log": SETTINGS + "test_each_decision_is_a_log_line_with_decision_log",
    "drain": LIFECYCLE + "test_a_stop_does_not_wait_longer_than_it_may",
}
"""The test that fails if a setting does nothing."""


def names_of(kind: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    """Yield the dotted names of all settings."""
    for info in msgspec.structs.fields(kind):
        inner = _structs_in(info.type)
        if inner:
            yield from names_of(inner.pop(), f"{path}{info.name}.")
        else:
            yield f"{path}{info.name}"


def _structs_in(annotation: object) -> set[type[msgspec.Struct]]:
    kinds = getattr(annotation, "__args__", (annotation,)) if not isinstance(annotation, type) else (annotation,)
    return {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}


def functions_of(path: Path) -> set[str]:
    """Return the names of a module's functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, functions)}


def test_every_setting_has_a_test_that_it_takes_effect() -> None:
    """A setting that does nothing is a promise broken without a word."""
    assert sorted(names_of(Settings)) == sorted(TAKES_EFFECT)
    missing = []
    for setting, test in TAKES_EFFECT.items():
        path, _, name = test.partition("::")
        if name not in functions_of(ROOT / path):
            missing.append(setting)
    assert missing == []


def test_the_defaults_do_not_contradict_each_other() -> None:
    """So that an empty file will do."""
    assert check(Settings()) == Settings()


def write(directory: Path, text: str) -> Path:
    """Write a configuration file."""
    path = directory / "pdp.yaml"
    path.write_text(text)
    return path


def problems_of(directory: Path, text: str) -> list[str]:
    """Return the problems of a configuration, without the file's name."""
    path = write(directory, text)
    with pytest.raises(DocumentError) as refused:
        load(path)
    return [str(problem).removeprefix(f"{path}:") for problem in refused.value.problems]


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    """Relative paths are the file's; durations have units."""
    (tmp_path / "p").mkdir()
    path = write(tmp_path, "data_dir: d\npolicies: [p]\nlimits: {calls: 7}\ndrain: 2s\ndecision_log: true\n")
    expected = Settings(
        data_dir=str(tmp_path / "d"),
        policies=[str(tmp_path / "p")],
        limits=Limits(calls=7),
        drain=Duration(2 * SECOND),
        decision_log=True,
    )
    assert load(path) == expected


def test_certificates_are_found_beside_the_file(tmp_path: Path) -> None:
    """As policies are."""
    Authority().server_files(tmp_path)
    text = "decisions: {address: '0.0.0.0:1', tls: {certificate: server.pem, key: server.key, client_ca: clients.pem}}"
    tls = load(write(tmp_path, text)).decisions.tls
    assert tls == Tls(
        certificate=str(tmp_path / "server.pem"),
        key=str(tmp_path / "server.key"),
        client_ca=str(tmp_path / "clients.pem"),
    )


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("limit: {calls: 1}", "1:8", "limit"),
        ("limits: {call: 1}", "1:16", "call"),
        ("limits:\n  calls: many", "2:10", "calls"),
        ("drain: 5", "1:8", "drain"),
        ("drain: -5s", "1:8", "drain"),
        ("decisions: {tls: {certificate: a, key: b}}", "1:18", "client_ca"),
        ("- a list", "1:1", ""),
        ("data_dir: [1", "2:1", ""),
    ],
    ids=["group", "key", "type", "unit", "sign", "missing", "list", "syntax"],
)
def test_what_is_unknown_or_wrong_is_refused_at_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    """Line and column, and the key."""
    problems = problems_of(tmp_path, text)
    assert len(problems) == 1
    assert problems[0].startswith(place)
    assert words in problems[0]


TLS = "tls: {certificate: server.pem, key: server.key, client_ca: clients.pem}"
HASH = "sha256:" + "0" * 64
CONTRADICTIONS = {
    "plain text beyond loopback": "decisions: {address: '0.0.0.0:8443'}",
    "a name that is not loopback": "decisions: {address: 'localhost.example.org:1'}",
    "plain administration beyond loopback": "administration: {address: '192.0.2.1:1'}",
    "the same address twice": "decisions: {address: 'localhost:1'}\nadministration: {address: 'localhost:1'}",
    "certificates on a socket": f"decisions: {{{TLS}}}",
    "no certificates": "decisions: {address: 'localhost:1', tls: {certificate: x, key: y, client_ca: z}}",
    "callers without certificates": "decisions: {callers: {a: [b]}}",
    "callers of administration": f"administration: {{address: 'localhost:1', {TLS}, callers: {{a: [b]}}}}",
    "an unknown role": "administration: {principals: {a: {roles: [king]}}}",
    "a principal without a name": "administration: {principals: {'': {roles: [auditor]}}}",
    "a group without a name": "administration: {principals: {a: {groups: ['']}}}",
    "an identity pattern that is none": "administration: {principals: {a: {identities: ['x*y']}}}",
    "a token in plain text": "administration: {principals: {a: {tokens: [pdpadm_secret]}}}",
    "a hash that is too short": "administration: {principals: {a: {tokens: [{hash: 'sha256:00'}]}}}",
    "an end without a zone": "administration: {principals: {a: {tokens: [{hash: x, expires_at: 2026-01-01}]}}}",
    "a token of two": f"administration: {{principals: {{a: {{tokens: [{HASH}]}}, b: {{tokens: [{{hash: {HASH}}}]}}}}}}",
    "a certificate of two": f"administration: {{address: 'localhost:1', {TLS}, principals: "
    "{a: {certificates: ['cn:x']}, b: {certificates: ['cn:x']}}}",
    "a pattern of common names": f"administration: {{address: 'localhost:1', {TLS}, principals: "
    "{a: {certificates: ['cn:*']}}}",
    "a certificate that is no URI": f"administration: {{address: 'localhost:1', {TLS}, principals: "
    "{a: {certificates: ['somebody']}}}",
    "a pattern of URIs that is none": f"administration: {{address: 'localhost:1', {TLS}, principals: "
    "{a: {certificates: ['spiffe://x*']}}}",
    "certificates on a socket of administration": "administration: {principals: {a: {certificates: ['cn:x']}}}",
    "a port that nobody may use": "administration: {address: '127.0.0.1:1'}",
    "a pattern that is none": f"decisions: {{address: 'localhost:1', {TLS}, callers: {{a: ['x*y']}}}}",
    "a mode that is none": "decisions: {mode: '0o6'}",
    "a mode of a port": "decisions: {address: 'localhost:1', mode: '0600'}",
    "a path that is too long": f"decisions: {{address: 'unix:/{'x' * 120}'}}",
    "policies that are not there": "policies: [nowhere]",
    "staleness before a heartbeat": "state: {max_staleness: 1s, heartbeat: 2s}",
    "no heartbeat at all": "state: {heartbeat: 0s}",
    "a share above one": "telemetry: {sample_ratio: 1.5}",
    "a backlog of nothing": "telemetry: {max_backlog: 0}",
    "logs without a collector": "telemetry: {logs: true}",
    "a port that is none": "telemetry: {prometheus_port: 70000}",
    "a negative port": "telemetry: {prometheus_port: -1}",
    "a collector without a scheme": "telemetry: {otlp_endpoint: 'collector:4317'}",
    "no calls": "limits: {calls: 0}",
    "no room for records": "journal: {max_buffered: 0}",
    "less room than for a segment": "journal: {keep_bytes: 1000}",
    "no time to keep": "journal: {keep_for: 0s}",
    "an export that is required and goes nowhere": "telemetry: {required: true}",
    "a mask of nothing": "journal: {mask: [{attributes: []}]}",
    "a mask of what is no attribute": "journal: {mask: [{attributes: [subject]}]}",
    "a mask of part of a name": "journal: {mask: [{attributes: ['context.e*']}]}",
    "a mask with an empty step": "journal: {mask: [{attributes: ['context..a']}]}",
    "a mask under an empty condition": "journal: {mask: [{attributes: [context.a], when: ''}]}",
    "a mask that reads what is not asked": "journal: {mask: [{attributes: [context.a], when: 'session.id == \"\"'}]}",
}


@pytest.mark.parametrize("name", sorted(CONTRADICTIONS))
def test_a_contradiction_is_refused_at_its_place(tmp_path: Path, name: str) -> None:
    """Nothing is silently weaker than what was asked for."""
    Authority().server_files(tmp_path)
    problems = problems_of(tmp_path, CONTRADICTIONS[name])
    assert problems != []
    assert all(problem.split(":")[0].isdigit() and problem.split(":")[1].isdigit() for problem in problems)


def test_a_fault_in_the_condition_of_a_mask_has_its_own_place(tmp_path: Path) -> None:
    """Line and column inside of the expression."""
    text = """\
journal:
  mask:
    - attributes: [context.a]
      when: >-
        action.name == "x" &&
        contxt.a == 1
"""
    problems = problems_of(tmp_path, text)
    assert len(problems) == 1
    assert problems[0].startswith("6:15: journal.mask[0].when: undeclared reference to `contxt.a`")


def test_a_token_in_plain_text_is_not_repeated(tmp_path: Path) -> None:
    """Problems get into logs."""
    problems = problems_of(tmp_path, "administration: {principals: {a: {tokens: [pdpadm_secret]}}}")
    assert [problem for problem in problems if "secret" in problem] == []
    assert "administration.principals.a.tokens[0]: must be `sha256:`" in problems[0]


def test_principals_are_read_as_they_are_written(tmp_path: Path) -> None:
    """With tokens that end and tokens that do not."""
    text = f"""
administration:
  principals:
    change-manager:
      roles: [approver, reviewer]
      groups: [change-board]
      identities: ["spiffe://shop.example/**"]
      tokens: [{HASH}, {{hash: "{HASH[:-1]}1", expires_at: 2026-01-01T00:00:00Z}}]
"""
    expected = PrincipalSettings(
        roles=frozenset({Role.APPROVER, Role.REVIEWER}),
        groups=frozenset({"change-board"}),
        identities=IdentityScope(["spiffe://shop.example/**"]),
        tokens=[HASH, HashedToken(hash=HASH[:-1] + "1", expires_at=Instant(1_767_225_600 * SECOND))],
    )
    assert load(write(tmp_path, text)).administration.principals == {"change-manager": expected}


def test_settings_that_come_from_elsewhere_are_held_to_the_same(tmp_path: Path) -> None:
    """Such as from command-line options."""
    with pytest.raises(DocumentError, match="not loopback"):
        check(Settings(decisions=Listener(address="0.0.0.0:1")))
