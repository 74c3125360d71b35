"""Named workloads, one command each: `python -m benchmarks`; the figures are in README.md."""
