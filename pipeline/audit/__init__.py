"""Judging an atlas: gates, intervals, verdicts, and the files that machines act on.

It reads an atlas's tables, and neither TensorFlow nor Beam.
"""
