"""Data, a model and a report of the demo: `scripts/demo`."""
