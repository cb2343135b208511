"""What holds for every test: a quiet TensorFlow with two threads, and the same random numbers."""

from __future__ import annotations

import os
import random
import sys

# TensorFlow reads these when it is first imported, whichever test that is.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_NUM_INTRAOP_THREADS"] = "2"
os.environ["TF_NUM_INTEROP_THREADS"] = "2"

# No test knows what another one has left in the user's cache folder.
os.environ["SALIENCY_ATLAS_CACHE"] = ""

import hypothesis
import numpy as np
import pytest

pytest_plugins = ("small_dataset", "config_file", "emulated_gcs")

_SEED = 7

# How long an example takes says more of the machine than of the code, and what fails here has to
# fail everywhere: looking further is for scripts/fuzz, and for --hypothesis-seed.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(_SEED)
    np.random.seed(_SEED)
    # Importing TensorFlow takes seconds; a test that needs it has imported it with its module, or
    # seeds what it makes.
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(_SEED)
