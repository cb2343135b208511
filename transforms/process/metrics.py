"""Under which name the counters and distributions of a run are found among Beam's."""

from __future__ import annotations

METRICS_NAMESPACE = "saliency_atlas"
"""Of every metric of ours."""
