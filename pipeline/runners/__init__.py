"""Beam's runners: presets, options, what each needs, and the package that workers get.

Nothing here knows what a run does; it imports the configuration, to see which paths workers have
to reach, and Beam.
"""
