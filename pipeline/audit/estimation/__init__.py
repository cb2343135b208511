"""Estimates and their confidence intervals: means, shares, quantiles, divergences."""
