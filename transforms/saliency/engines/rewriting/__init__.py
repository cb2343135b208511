"""ROOM transforms/saliency/engines/rewriting."""
