"""What happened: the journal of decisions and changes, and the spans, metrics and usage built from it."""
