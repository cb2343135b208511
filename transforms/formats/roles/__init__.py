"""What the values of a record's features must be, by their roles."""
