"""What a user runs: configuration, commands, jobs, and the reading of their results."""
