"""ROOM transforms/process."""
