"""ROOM transforms/store."""
