"""The services and their methods: which handler answers which RPC."""

from __future__ import annotations

from grpc_health.v1 import health_pb2
from sessionpdp.v1 import decision_pb2, evidence_pb2, governance_pb2

from pdp.doors.command_wire import request_type
from pdp.doors.decision_handlers import DecisionHandlers
from pdp.doors.evidence_handlers import EvidenceHandlers
from pdp.doors.fact_handlers import FactHandlers
from pdp.doors.governance_handlers import CommandHandlers, ImportHandlers
from pdp.doors.governing import Governed
from pdp.doors.grpc_door import Exchange, Method, ServerStream, Unary
from pdp.doors.health import HealthHandlers
from pdp.doors.replay_handlers import ReplayHandlers
from pdp.doors.review_handlers import ReviewHandlers
from pdp.doors.story_handlers import StoryHandlers
from pdp.governance.commands import DecideReview
from pdp.governance.table import COMMANDS

DECISIONS = "sessionpdp.v1.DecisionService"
GOVERNANCE = "sessionpdp.v1.GovernanceService"
EVIDENCE = "sessionpdp.v1.EvidenceService"
HEALTH = "grpc.health.v1.Health"


def decision_methods(handlers: DecisionHandlers) -> list[Method]:
    """Return the methods of DecisionService."""
    pb = decision_pb2
    return [
        Unary("Check", pb.CheckRequest, handlers.check),
        Unary("CheckBatch", pb.CheckBatchRequest, handlers.check_batch),
        Exchange("CheckStream", pb.CheckStreamRequest, handlers.check_stream),
        Unary("Explain", pb.ExplainRequest, handlers.explain),
        ServerStream("Watch", pb.WatchRequest, handlers.watch),
        Unary("ListPermissions", pb.ListPermissionsRequest, handlers.list_permissions),
    ]


def governance_methods(
    governed: Governed,
    commands: CommandHandlers,
    imports: ImportHandlers,
    facts: FactHandlers,
    reviews: ReviewHandlers,
    stories: StoryHandlers,
) -> list[Method]:
    """Return the methods of GovernanceService."""
    pb = governance_pb2
    alike = [kind for kind in COMMANDS if kind is not DecideReview]
    return [
        *(governed.method(kind.__name__, request_type(kind), commands.of(kind)) for kind in alike),
        governed.method("DecideReview", pb.DecideReviewRequest, reviews.decide_review),
        governed.method("ListReviews", pb.ListReviewsRequest, reviews.list_reviews),
        governed.method("GetReview", pb.GetReviewRequest, reviews.get_review),
        governed.method("DescribeSession", pb.DescribeSessionRequest, stories.describe_session),
        governed.method("ApplyFacts", pb.ApplyFactsRequest, imports.apply_facts),
        governed.method("GetFact", pb.GetFactRequest, facts.get_fact),
        governed.method("ListFacts", pb.ListFactsRequest, facts.list_facts),
        governed.method("ListRevocations", pb.ListRevocationsRequest, facts.list_revocations),
        governed.method("ListUnownedIdentities", pb.ListUnownedIdentitiesRequest, facts.list_unowned_identities),
        governed.method("GetPrincipal", pb.GetPrincipalRequest, facts.get_principal),
    ]


def evidence_methods(governed: Governed, handlers: EvidenceHandlers, replays: ReplayHandlers) -> list[Method]:
    """Return the methods of EvidenceService."""
    pb = evidence_pb2
    return [
        governed.method("ListRecords", pb.ListRecordsRequest, handlers.list_records),
        governed.method("GetRecord", pb.GetRecordRequest, handlers.get_record),
        governed.method("VerifyJournal", pb.VerifyJournalRequest, handlers.verify_journal),
        governed.method("ReplayDecision", pb.ReplayDecisionRequest, replays.replay_decision),
    ]


def health_methods(handlers: HealthHandlers) -> list[Method]:
    """Return the methods of the health service."""
    pb = health_pb2
    return [
        Unary("Check", pb.HealthCheckRequest, handlers.check),
        Unary("List", pb.HealthListRequest, handlers.list),
        ServerStream("Watch", pb.HealthCheckRequest, handlers.watch),
    ]
