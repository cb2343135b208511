"""ROOM transforms/formats/tfrecord."""
