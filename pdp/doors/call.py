"""Who asks, how, and until when: what a transport knows of a call."""

from __future__ import annotations

from msgspec import Struct

from pdp.core.model import Caller


class Call(Struct, frozen=True):
    """The context of one call, free of any transport."""

    method: str
    """The RPC without its service, e.g. `Check`."""
    caller: Caller | None = None
    """None where the transport itself admits only permitted callers (socket file mode)."""
    deadline: float | None = None
    """On the event loop's clock, in seconds; None: the caller set none."""
    traceparent: str = ""

    @property
    def caller_id(self) -> str:
        """The caller's identity; empty if the transport does not say."""
        return "" if self.caller is None else self.caller.id
