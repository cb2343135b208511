"""Statistics of single maps; in `groups`, their exact sums."""
