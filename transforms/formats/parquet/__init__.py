"""ROOM transforms/formats/parquet."""
