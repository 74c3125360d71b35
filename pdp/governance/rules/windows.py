"""How long something lasts that names no end of its own."""

from __future__ import annotations

from pdp.core.model import Duration
from pdp.core.wording import SECOND

DEFAULT_TTL = Duration(3600 * SECOND)
"""Longest window that is given to who asks for none in particular."""
DEFAULT_BREAK_GLASS_TTL = Duration(3600 * SECOND)
"""Longest emergency where no policy sets `limit.break_glass_ttl`."""
DEFAULT_REVIEW_WITHIN = Duration(24 * 3600 * SECOND)
"""When an emergency must have been reviewed, from its start, where no policy sets `limit.review_within`."""
