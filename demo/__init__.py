"""The product in one minute: `make demo`."""
