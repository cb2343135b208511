"""Scores: the number whose gradient is taken, and the class it is taken for."""
