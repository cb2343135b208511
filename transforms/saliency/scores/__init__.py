"""ROOM transforms/saliency/scores."""
