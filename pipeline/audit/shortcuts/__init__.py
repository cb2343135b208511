"""Shortcuts: places that a class's maps point to as no other class's do, and what they come to."""
