"""ROOM pipeline/run."""
