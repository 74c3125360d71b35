"""What leaves this process for operators: spans, log records, metrics."""
