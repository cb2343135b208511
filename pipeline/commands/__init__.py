"""The commands: one file for each, read top to bottom, and `console`, which prints for people.

They may import all of `pipeline` but `cli`; no command imports another.
"""
