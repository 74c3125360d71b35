"""The rows of the decision table, one module per group; `table` puts them in precedence order."""
