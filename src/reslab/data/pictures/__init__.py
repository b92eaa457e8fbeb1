"""Pictures of one's own: listed, decoded, kept, read."""
