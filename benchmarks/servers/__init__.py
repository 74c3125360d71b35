"""The processes that workloads start beside themselves."""

import pdp  # noqa: F401  # sets gRPC up: an echo that has not done so would be no floor
