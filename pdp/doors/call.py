"""Who asks, how, and until when: what a transport knows of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from pdp.core.model import Caller
from pdp.governance.roles import Principal

Peer: TypeAlias = Callable[[], Mapping[str, Iterable[bytes]]]
"""Returns the properties of a connection, with those of the client's certificate; not asked where nobody needs them."""
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


class Call(Struct, frozen=True):
    """The context of one call, free of any transport."""

    method: str
    """The RPC without its service, e.g. `Check`."""
    caller: Caller | None = None
    """Who asks for decisions; None where the transport itself admits only permitted callers (socket file mode)."""
    deadline: float | None = None
    """On the event loop's clock, in seconds; None: the caller set none."""
    traceparent: str = ""
    principal: Principal | None = None
    """Who administers; None on the door for decisions, and for a stranger."""
    stranger: str = ""
    """Why nobody is known to administer here; empty with a principal."""

    @property
    def caller_id(self) -> str:
        """The caller's identity; empty if the transport does not say."""
        return "" if self.caller is None else self.caller.id
