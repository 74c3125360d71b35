"""The process that keeps what is derived from a running sidecar's journal: its index, checkpoints, small segments."""

DAMAGED = b"damaged"
"""Told before the inode of an index that cannot be read."""
