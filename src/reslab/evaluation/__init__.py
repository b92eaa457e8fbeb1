"""How well a net does: metrics, figures, the report."""
