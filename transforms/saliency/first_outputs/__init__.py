"""What a model makes of the first examples of a run, computed or remembered."""
