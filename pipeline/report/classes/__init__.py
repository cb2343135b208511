"""The classes on the page: a row per class, and the examples that stand for it."""
