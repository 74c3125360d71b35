"""How what stands inside a fact reads in a change record."""

from __future__ import annotations

from pdp.core.model import Approval, Consent, Instant, Put
from pdp.core.scope import ActionScope, ResourceScope
from pdp.evidence.line.fact_json import change_json

APPROVAL = Approval(
    id="a-1",
    requested_by="on-call-engineer",
    justification="the index is corrupt",
    actions=ActionScope(["rows.*"]),
    resources=ResourceScope(["database:prod/**"]),
    not_before=Instant(0),
    expires_at=Instant(1),
    consents=(
        Consent(by="change-manager", at=Instant(1), groups=("release", "on-call")),
        Consent(by="security", at=Instant(2)),
    ),
)


def test_each_consent_is_told_with_its_instant_as_text() -> None:
    """In the words of the model, as the fact's own fields are."""
    fact = change_json(Put(APPROVAL))["fact"]
    assert isinstance(fact, dict)
    assert (fact["justification"], fact["consents"]) == (
        "the index is corrupt",
        [
            {"by": "change-manager", "at": "1970-01-01T00:00:00.000000001Z", "groups": ["release", "on-call"]},
            {"by": "security", "at": "1970-01-01T00:00:00.000000002Z"},
        ],
    )
