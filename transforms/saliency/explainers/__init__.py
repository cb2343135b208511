"""Explainers of arrays and datasets in memory: one class per method, under Xplique's names."""
