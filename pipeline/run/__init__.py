"""A run, from its first check to its last file: begin with `job.prepare`, then `launch.execute`.

It imports the configuration, libraries and, in `graph` alone, stages and Beam; no command and no
runner but lazily, when a graph is executed.
"""
