"""What commands give that are printed, for tests of the command line."""

from __future__ import annotations

from typing import Any

MANIFEST: dict[str, Any] = {
    "status": "complete",
    "records_read": 2000,
    "explained_examples": 1990,
    "failed_records": 10,
    "wall_seconds": 75.2,
    "examples_per_second": 123.45,
    "map_bytes": 3 << 20,
    "warned_images": 0,
}
PLAN: dict[str, Any] = {
    "atlas": "/atlases/train",
    "shards": 8,
    "input_bytes": 4096,
    "examples_estimated": 2000,
    "drawn": None,
    "model": {
        "uri": "model.keras",
        "format": "Keras",
        "input": {"name": "image", "shape": [None, 8, 8, 3], "dtype": "float32"},
        "output": {"layer": "logits", "shape": [None, 10]},
        "layers": [f"layer_{number}" for number in range(14)],
    },
    "batch_size": 16,
    "calls": 1,
    "threads": 2,
    "examples_per_second": 20.0,
    "seconds_estimated": 100.0,
    "map_bytes_estimated": 2048,
    "memory_bytes_estimated": 3 << 30,
    "picture": "first.png",
    "certificate": None,
    "first_look": {
        "file": "a.tfrecord",
        "examples": 16,
        "different_ids": 16,
        "stored": {"low": 0.0, "mean": 100.0, "high": 255.0},
        "inputs": [{"low": 0.0, "mean": 0.41, "high": 1.0}] * 3,
        "features": [],
        "fed": {"age": {"low": 18.0, "mean": 51.5, "high": 90.0}},
        "labels": {"low": 0, "high": 9, "different": 10},
        "predicted_correctly": 12,
        "labelled": 16,
        "with_boxes": 15,
        "with_masks": 9,
        "empty_maps": 1,
        "outputs": {
            "kind": "logits",
            "by_graph": False,
            "values": {"low": -7.5, "mean": 0.0, "high": 9.25},
            "confidence": 0.876,
        },
        "orientations": [[6, 3]],
    },
    "sample": {"entropy": 0.98765},
    "warnings": ["source.classes has 9 names, the model 10 outputs"],
}
SUMMARY: dict[str, Any] = {
    "atlas": "/atlases/train",
    "records_read": 2000,
    "explained_examples": 1990,
    "failed_records": 10,
    "blocks": 8,
    "statistics": "/atlases/train/statistics/classes.parquet",
    "unchanged": True,
}
SHOWN: dict[str, Any] = {
    "example_id": "a/b:1",
    "shard": "a.tfrecord",
    "record": 1,
    "label": None,
    "target": 3,
    "predicted": 4,
    "score": 0.25,
    "entropy": 0.98765,
    "spread": None,
    "output": "a_b_1.png",
    "note": "the input has gone: the map is shown alone",
}
CLASS_ROWS: list[dict[str, Any]] = [
    {
        "class": number,
        "class_name": "ant" if number == 0 else None,
        "n": 1000,
        "n_correct": 900 if number == 0 else None,
        "entropy_mean": 0.95,
        "gini_mean": None,
        "corner_energy_mean": 0.125,
    }
    for number in range(21)
]
