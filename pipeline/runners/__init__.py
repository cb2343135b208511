"""ROOM pipeline/runners."""
