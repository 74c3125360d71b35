"""What becomes of full segments: sealed, compressed, removed."""
