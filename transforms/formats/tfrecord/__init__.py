"""TFRecord: framing with both checksums, `tf.train.Example`, and index files.

It imports `formats.columns`; TensorFlow parses examples, and framing does without.
"""
