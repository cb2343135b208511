"""ROOM pipeline/config."""
