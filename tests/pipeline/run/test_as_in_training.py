"""Predictions in an atlas are those of whoever resized with Pillow, given the keys that say so."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from small_dataset import SIDE, MakeConfig

from pipeline.atlas import Atlas
from pipeline.run.in_memory import run_in_memory

COUNT = 60


def _jpeg(seed: int) -> bytes:
    """Noise, coarse and fine, whose every cut is a close call for a classifier."""
    random = np.random.default_rng(seed)
    height, width = random.integers(40, 90, 2)
    coarse = random.integers(0, 256, (5, 5, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((int(width), int(height)), 0), np.int16)
    noisy = np.clip(pixels + random.integers(-90, 90, pixels.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG")
    return stream.getvalue()


def _deployed(data: bytes) -> npt.NDArray[np.float32]:
    """Resize(16, BICUBIC), CenterCrop(12) and ToTensor, as torchvision has them."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    size = (16, int(16 * height / width)) if width <= height else (int(16 * width / height), 16)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((image.size[0] - SIDE) / 2), round((image.size[1] - SIDE) / 2)
    cut = image.crop((left, top, left + SIDE, top + SIDE))
    pixels: npt.NDArray[np.float32] = np.asarray(cut, np.float32) / np.float32(255)
    return pixels


def test_predictions_are_the_deployed_ones(
    make_config: MakeConfig, model_path: Path, tmp_path: Path
) -> None:
    import keras

    images = [_jpeg(seed) for seed in range(COUNT)]
    pq.write_table(pa.table({"image": images}), tmp_path / "photographs.parquet")
    scores = keras.models.load_model(model_path).predict(
        np.stack([_deployed(data) for data in images]), verbose=0
    )

    def run(name: str, **keys: object) -> Atlas:
        config = make_config(
            source={
                "pattern": str(tmp_path / "photographs.parquet"),
                "format": "parquet",
                "features": {"input": "image"},
                "input": {"shape": [SIDE, SIDE, 3], "scale": "unit", **keys},
            },
            explain={"target": "predicted"},
            output={"path": str(tmp_path / name)},
        )
        run_in_memory(config)
        return Atlas.open(str(tmp_path / name))

    as_trained = run(
        "trained", decoder="pillow", resize="bicubic", fit="shorter_side", crop=SIDE / 16
    ).table(["predicted", "predicted_score"])
    assert as_trained["predicted"].to_pylist() == scores.argmax(axis=1).tolist()
    np.testing.assert_allclose(as_trained["predicted_score"], scores.max(axis=1), rtol=1e-5)

    by_default = run("default").table(["predicted"])["predicted"].to_numpy()
    assert (by_default == scores.argmax(axis=1)).mean() < 0.9  # so the keys do tell
