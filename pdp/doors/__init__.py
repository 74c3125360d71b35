"""How services ask: handlers free of any transport, and the thin adapters that bring requests to them."""
