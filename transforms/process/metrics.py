"""What the metrics of a run have in common."""

from __future__ import annotations

METRICS_NAMESPACE = "saliency_atlas"
"""Tells counters and distributions of this package from those of Beam and of others."""
