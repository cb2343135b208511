"""Parquet: from row groups to columns of records, a few rows at a time.

It imports `formats.columns` and pyarrow; it knows nothing of TensorFlow or other formats.
"""
