"""Where facts live: the store port and its engines, the replica, and facts as files."""
