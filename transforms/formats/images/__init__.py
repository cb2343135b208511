"""Images: what their headers claim, looked at first, and then their pixels.

It imports the specifications in `formats.source` and, lazily, TensorFlow.
"""
