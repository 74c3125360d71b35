"""The processes that workloads start beside themselves."""
