"""Perturbing: random numbers that depend on the example alone, noise, and masks."""
