"""Pixels to logits."""
