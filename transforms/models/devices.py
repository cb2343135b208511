"""What models are computed on: threads, cores, GPU."""

from __future__ import annotations

import logging
import os

from transforms.errors import ConfigurationError

_logger = logging.getLogger(__name__)

_warned_of_threads: set[int] = set()


def configure_threads(threads: int | None) -> int:
    """Sets how many threads TensorFlow computes with; call it before anything is computed.

    Args:
      threads: Threads within and between operations; None leaves TensorFlow's own choice.

    Returns:
      The number in force. If TensorFlow has started already with another one that stays in
      force, and a warning says so once.

    Raises:
      ConfigurationError: `threads` is less than 1.
    """
    import tensorflow as tf

    if threads is not None:
        if threads < 1:
            raise ConfigurationError(
                f"explain.threads is {threads}; give at least 1, or leave it out"
            )
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:
            in_force = _threads_in_force()
            if threads != in_force and threads not in _warned_of_threads:
                _warned_of_threads.add(threads)
                _logger.warning(
                    "explain.threads %d has no effect: TensorFlow has started with %d already",
                    threads,
                    in_force,
                )
    return _threads_in_force()


def _threads_in_force() -> int:
    import tensorflow as tf

    configured = tf.config.threading.get_intra_op_parallelism_threads()
    return int(configured) or usable_cores()


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_machine_busy() -> bool:
    """Whether more wants to be computed here than there are cores, and one process beside.

    What is timed meanwhile tells of the others, too. Where the system does not tell, it is not.
    """
    if not hasattr(os, "getloadavg"):
        return False
    return os.getloadavg()[0] > (os.cpu_count() or 1) + 1


def has_gpu() -> bool:
    """Whether TensorFlow computes on a GPU."""
    return bool(gpu_names())


def gpu_names() -> tuple[str, ...]:
    """What the GPUs are that TensorFlow computes on."""
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    details = (tf.config.experimental.get_device_details(device) for device in devices)
    return tuple(str(each.get("device_name", "unknown")) for each in details)


def spare_cores() -> int:
    """How many cores the device leaves free for decoding, one at least.

    A GPU leaves all of them. On a CPU the explanation of one mini-batch takes as many as TensorFlow
    has threads; a thread that decodes the next one fills the gaps.
    """
    if has_gpu():
        return usable_cores()
    return max(1, usable_cores() - _threads_in_force())
