"""What exists, as literals that cost nothing to import."""
