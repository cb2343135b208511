"""ROOM transforms/formats/images."""
