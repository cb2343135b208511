"""Shortcuts: what is one class's alone in maps and images, and what it comes to."""
