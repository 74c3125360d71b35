"""The contract, the commands and the table of who may what say the same."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor
from msgspec.structs import fields
from sessionpdp.v1 import evidence_pb2, governance_pb2

from pdp.doors.command_wire import request_type, response_type
from pdp.governance.commands import Command
from pdp.governance.roles import Role
from pdp.governance.table import COMMANDS, EVIDENCE, IMPORT, QUERIES, ROLES_OF, ROWS

SERVICE = governance_pb2.DESCRIPTOR.services_by_name["GovernanceService"]
EVIDENCE_SERVICE = evidence_pb2.DESCRIPTOR.services_by_name["EvidenceService"]
MANNER = {"reason", "idempotency_key", "dry_run"}
ANSWER = {"revision", "facts", "already_done"}


def test_every_method_of_the_contract_is_in_the_table() -> None:
    """And nothing else is; what were missing could not be called, what were too much could."""
    served = [*SERVICE.methods, *EVIDENCE_SERVICE.methods]
    assert sorted(method.name for method in served) == sorted(ROLES_OF)
    assert {method.name for method in EVIDENCE_SERVICE.methods} == set(EVIDENCE)


def test_no_method_is_of_two_sorts() -> None:
    """A command with a query's roles would be anybody's."""
    names = [*(kind.__name__ for kind in COMMANDS), *QUERIES, *EVIDENCE, *IMPORT]
    assert sorted(names) == sorted(ROLES_OF)
    assert len(ROWS) == len(COMMANDS)


def test_an_auditor_changes_nothing_and_an_importer_only_imports() -> None:
    """Reading is for every role."""
    of_auditor = {name for name, roles in ROLES_OF.items() if Role.AUDITOR in roles}
    of_importer = {name for name, roles in ROLES_OF.items() if Role.IMPORTER in roles}
    assert (of_auditor, of_importer - of_auditor) == ({*QUERIES, *EVIDENCE}, {"ApplyFacts"})


def test_every_method_is_somebodys() -> None:
    """Else it could as well be taken away."""
    assert [name for name, roles in ROLES_OF.items() if not roles] == []


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_a_command_has_the_fields_of_its_request(kind: type[Command]) -> None:
    """By name, with what every command has besides; a field on one side alone would be lost without a word."""
    on_the_wire = {field.name for field in request_type(kind).DESCRIPTOR.fields}
    assert on_the_wire == {info.name for info in fields(kind)} | MANNER


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_a_command_is_answered_as_all_are(kind: type[Command]) -> None:
    """And its request and response are those of the method of its name."""
    method = SERVICE.methods_by_name[kind.__name__]
    assert {field.name for field in response_type(kind).DESCRIPTOR.fields} == ANSWER
    assert (method.input_type, method.output_type) == (request_type(kind).DESCRIPTOR, response_type(kind).DESCRIPTOR)


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_what_a_command_need_not_say_can_be_left_out_on_the_wire(kind: type[Command]) -> None:
    """A number or a time with a default of None must be told from zero."""
    optional = [info.name for info in fields(kind) if info.default is None]
    on_the_wire: dict[str, FieldDescriptor] = dict(request_type(kind).DESCRIPTOR.fields_by_name)
    assert [name for name in optional if not on_the_wire[name].has_presence] == []
