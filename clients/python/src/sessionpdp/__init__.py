"""Ask a sessionpdp policy decision point at the moment of the action, and govern what it decides from."""

from sessionpdp.answers import ExplainedCheck, Explanation, Permission, Permissions
from sessionpdp.async_client import AsyncPDP
from sessionpdp.async_evidence import AsyncEvidence
from sessionpdp.async_governance import AsyncGovernance
from sessionpdp.client import PDP
from sessionpdp.commands import Change
from sessionpdp.decision import AccessDenied, Decision, Doubt, GuardCode, Obligation, Reason
from sessionpdp.evidence import Evidence
from sessionpdp.evidence_answers import BrokenPlace, Record, Replay, Verification
from sessionpdp.governance import Governance
from sessionpdp.guard import guarded
from sessionpdp.refusals import (
    CommandRefused,
    FactNotFound,
    Fault,
    GovernanceError,
    GovernanceUnavailable,
    InvalidCommand,
    NotAuthenticated,
    NotPermitted,
    Violation,
)
from sessionpdp.request import Action, Check, Credential, InvalidCheck, Resource, Subject
from sessionpdp.sessions import AsyncGovernedSession, GovernedSession

__all__ = [
    "PDP",
    "AccessDenied",
    "Action",
    "AsyncEvidence",
    "AsyncGovernance",
    "AsyncGovernedSession",
    "AsyncPDP",
    "BrokenPlace",
    "Change",
    "Check",
    "CommandRefused",
    "Credential",
    "Decision",
    "Doubt",
    "Evidence",
    "ExplainedCheck",
    "Explanation",
    "FactNotFound",
    "Fault",
    "Governance",
    "GovernanceError",
    "GovernanceUnavailable",
    "GovernedSession",
    "GuardCode",
    "InvalidCheck",
    "InvalidCommand",
    "NotAuthenticated",
    "NotPermitted",
    "Obligation",
    "Permission",
    "Permissions",
    "Reason",
    "Record",
    "Replay",
    "Resource",
    "Subject",
    "Verification",
    "Violation",
    "guarded",
]
