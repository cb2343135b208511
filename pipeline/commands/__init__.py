"""ROOM pipeline/commands."""
