"""What a record looks like on disk, and what of it is masked."""
