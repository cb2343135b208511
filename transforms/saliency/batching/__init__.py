"""Mini-batches: how they are cut, how large they are, and what one bad example in them costs."""
