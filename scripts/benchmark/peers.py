"""A peer's saliency maps, timed when asked: one process, one library, one model.

    PEER/bin/python scripts/benchmark/peers.py xplique MODEL.keras EXAMPLES

Prints `{"batch_size": ...}`, the fastest of a few, once it is ready; then, for every line it reads,
one round's figures. It needs nothing of the project: peers have environments of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

SIDE, CLASSES = 224, 1000
BATCH_SIZES = (4, 8, 16, 32)
TORCHVISION = {"MobileNetV2": "mobilenet_v2", "ResNet50": "resnet50"}

Explain = Callable[[Any], object]


def serve(explain: Callable[[int], Explain], make_inputs: Callable[[int], Any], count: int) -> None:
    """Finds the best batch size, then runs a round for every line of the standard input."""
    inputs = make_inputs(count)
    seconds = {}
    for size in BATCH_SIZES:
        run = explain(size)
        run(inputs)
        seconds[size] = min(_timed(run, inputs)["wall_seconds"] for _ in range(2))
    best = min(seconds, key=seconds.__getitem__)
    run = explain(best)
    run(inputs)
    print(json.dumps({"batch_size": best}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(_timed(run, inputs) | {"examples": count}), flush=True)


def _timed(run: Explain, inputs: Any) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run(inputs)
    return {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def xplique(model_path: str, count: int) -> None:
    """Xplique's Saliency on a model that ends in logits."""
    import numpy as np
    import tensorflow as tf
    from xplique.attributions import Saliency

    model = tf.keras.models.load_model(model_path)
    targets = np.eye(CLASSES, dtype=np.float32)[:count]
    generator = np.random.default_rng(0)

    def explain(size: int) -> Explain:
        explainer = Saliency(model, batch_size=size)
        return lambda inputs: explainer(inputs, targets)

    def make_inputs(number: int) -> Any:
        return generator.uniform(0, 255, (number, SIDE, SIDE, 3)).astype(np.float32)

    serve(explain, make_inputs, count)


def pytorch(model_name: str, count: int) -> None:
    """A bare gradient loop, channels last, of torchvision's model of that name."""
    import torch
    import torchvision

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = getattr(torchvision.models, TORCHVISION[model_name])(weights=None)
    model = model.eval().to(memory_format=torch.channels_last).requires_grad_(False)

    def explain(size: int) -> Explain:
        def run(inputs: Any) -> None:
            for start in range(0, count, size):
                batch = inputs[start : start + size].clone().requires_grad_(True)
                labels = torch.arange(start, start + len(batch))[:, None]
                model(batch).gather(1, labels).sum().backward()
                batch.grad.abs().amax(dim=1)

        return run

    def make_inputs(number: int) -> Any:
        shape = (number, 3, SIDE, SIDE)
        return torch.rand(shape).contiguous(memory_format=torch.channels_last)

    serve(explain, make_inputs, count)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    {"xplique": xplique, "pytorch": pytorch}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
