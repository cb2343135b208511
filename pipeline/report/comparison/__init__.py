"""The section that holds an atlas against a baseline: what changed, in classes and examples."""
