"""What to run: asked for, and decided."""
