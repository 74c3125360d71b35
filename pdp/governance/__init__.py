"""Who may change facts, and how: pure commands, and the desk that commits them."""
