"""What runs cost beside the gradient, and who computes the gradient fastest: `scripts/bench`."""
