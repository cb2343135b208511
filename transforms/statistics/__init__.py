"""Statistics of single maps, and their exact sums by class."""
