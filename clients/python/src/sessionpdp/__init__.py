"""Ask a sessionpdp policy decision point at the moment of the action."""

from sessionpdp.answers import ExplainedCheck, Explanation, Permission, Permissions
from sessionpdp.async_client import AsyncPDP
from sessionpdp.client import PDP
from sessionpdp.decision import AccessDenied, Decision, Doubt, GuardCode, Obligation, Reason
from sessionpdp.guard import guarded
from sessionpdp.request import Action, Check, Credential, InvalidCheck, Resource, Subject

__all__ = [
    "PDP",
    "AccessDenied",
    "Action",
    "AsyncPDP",
    "Check",
    "Credential",
    "Decision",
    "Doubt",
    "ExplainedCheck",
    "Explanation",
    "GuardCode",
    "InvalidCheck",
    "Obligation",
    "Permission",
    "Permissions",
    "Reason",
    "Resource",
    "Subject",
    "guarded",
]
