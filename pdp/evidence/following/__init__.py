"""Processes that follow the journal of a running sidecar, for work that must not take turns with who decides."""
