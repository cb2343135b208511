"""Exact sums of maps' statistics by group: a class, a slice's value, a fold, a prediction."""
