"""Keeps what TensorFlow's C++ says while it starts away from the messages for users.

Some of it (oneDNN's notice, the search for a GPU) is written before TF_CPP_MIN_LOG_LEVEL has any
effect, straight to the process's file descriptor.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

_STDERR = 2  # the file descriptor


def start_tensorflow() -> None:
    """Imports TensorFlow and lets it look for devices, in silence unless that fails."""
    # C++ reads it when it is first imported: 2 hides information and warnings.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_stderr_held_back():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Keeps the process's standard error, C++'s too, until the body has ended.

    It is dropped where the body succeeds and written where it raises.
    """
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        except Exception:  # Whatever it was: what was held back may say why.
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, _STDERR)
            os.close(kept)
