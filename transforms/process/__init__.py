"""What concerns the worker process: memory, reading ahead, version, the name of its metrics.

It imports `errors` alone, so every stage and library may use it.
"""
