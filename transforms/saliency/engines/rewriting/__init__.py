"""Rewriting: a gradient's graph made into one that an engine can compile."""
