"""What concerns the worker process: its memory, reading ahead in threads, its version.

It imports `errors` alone, so every stage and library may use it.
"""
