"""What happened, storage only."""
