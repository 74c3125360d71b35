"""Decisions computed again: from the journal, the change log and the policies that were kept."""
