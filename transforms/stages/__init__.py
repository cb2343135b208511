"""ROOM transforms/stages."""
