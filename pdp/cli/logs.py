"""Log lines: data for machines, or a line to read for who runs a sidecar in a terminal."""

from __future__ import annotations

import os

import structlog


def set_up_logs(*, as_json: bool) -> None:
    """Have everything logged to standard output."""
    render = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        logger_factory=structlog.PrintLoggerFactory(),
    )
