"""Who vouches for the journal: keys, seals, and their verification."""
