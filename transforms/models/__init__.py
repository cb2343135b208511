"""Models: found on any storage, loaded, described, and called as functions of tensors.

It knows nothing of what is explained; it imports `storage`, `errors` and, lazily, TensorFlow.
"""
