"""What was used, when: for limits, and for those who review."""
