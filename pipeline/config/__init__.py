"""The configuration: every key with its default and what is allowed, YAML, and error messages.

Which values a key may have is for the library to say that knows them; nothing here imports a run,
Beam or TensorFlow.
"""
