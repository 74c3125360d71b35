"""The journal: segments of lines, one writer, and how they are read."""
