"""Stories with time that policies are tested with, and that every door and client is tested with too."""
