"""What there is to judge about a request, as bits.

Rule: a row of the decision table is reached only when every aspect it needs is there.
"""

ALWAYS = 0
# Facts: a row that needs one which is missing cannot be judged.
IDENTITY, SESSION, TASK, ENTITLEMENT, APPROVAL, CREDENTIAL = (1 << bit for bit in range(6))
# Their absence, where that is what a row denies.
NO_IDENTITY, NO_SESSION, NO_TASK, NO_ENTITLEMENT, NO_APPROVAL = (1 << bit for bit in range(6, 11))
# What only some requests, sessions or policies have: a row that needs it has otherwise nothing to deny.
UNREADY, REVISION_ASKED, CALLER, TYPE_ASKED, TASK_ASKED = (1 << bit for bit in range(11, 16))
INACTIVE, CLOSED, IDLE_TIMEOUT, SESSION_USES, CONSTRAINTS, PARENT = (1 << bit for bit in range(16, 22))
SUBTASK, UNAPPROVED, BREAK_GLASS, APPROVAL_NAMED, APPROVAL_USES = (1 << bit for bit in range(22, 27))
CONDITIONS, SIGNALS_READ, APPROVAL_RULES, CONSENT_RULES = (1 << bit for bit in range(27, 31))
AGE_LIMIT, TTL_LIMIT, IDLE_LIMIT, APPROVAL_LIMIT = (1 << bit for bit in range(31, 35))
