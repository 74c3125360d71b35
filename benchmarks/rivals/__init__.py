"""The scenario that is put to several engines, and how each of them expresses it."""
