"""What a residual net is."""
