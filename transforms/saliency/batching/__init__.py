"""ROOM transforms/saliency/batching."""
