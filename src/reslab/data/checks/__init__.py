"""What may be wrong with pictures before a net learns from them."""
