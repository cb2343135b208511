"""What an atlas's blocks add up to: counts, accounts of the input, failures, statistics."""
