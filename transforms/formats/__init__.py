"""Input formats: from a shard's bytes to blocks of examples, and from those to model inputs."""
