"""Layers and mechanisms below the nets."""
