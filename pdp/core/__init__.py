"""The decision: pure values and rules. Read `model`, `reasons`, `checks`, `decide` in that order."""
