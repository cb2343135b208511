"""ROOM transforms/models."""
