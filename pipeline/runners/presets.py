"""The presets that `--runner` names: what Beam is told, with the reason beside each option.

Nothing here imports Beam, so the command line has the names at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

LOCAL_RUNNER = "FnApiRunner"

PRESETS: Mapping[str, tuple[str, ...]] = {
    # One process with one model: TensorFlow's threads use all cores, and reading, decoding and
    # writing go on beside them. More of Beam's own threads would add gRPC between them, no speed.
    "local": (
        f"--runner={LOCAL_RUNNER}",
        "--direct_running_mode=in_memory",
        "--direct_num_workers=1",
    ),
    # A process a core, each with a model of its own: where Python, not TensorFlow, is the limit.
    "local-multi": (
        f"--runner={LOCAL_RUNNER}",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=0",
    ),
    "flink": (
        "--runner=FlinkRunner",
        # Flink's default is one slot, so one worker however many cores there are.
        f"--parallelism={os.cpu_count() or 1}",
    ),
    # LOOPBACK is the runner's default: the workers are threads of the launching process.
    "prism": ("--runner=PrismRunner", "--prism_log_level=warn"),
    "dataflow": (
        "--runner=DataflowRunner",
        # One process a machine: one model in memory, and one owner of the GPU. TensorFlow's own
        # threads use all cores. (Beam starts a process a core otherwise.)
        "--experiments=no_use_multiple_sdk_containers",
        # Of that process: one thread prepares a block while another waits for the device. More
        # would only hold more blocks in memory; Dataflow's default is 12.
        "--number_of_worker_harness_threads=2",
        # Beam is in the image that the workers start from, of the launcher's version; else the
        # launcher would download it to stage it.
        "--sdk_location=container",
        # 3.75 GB a core, and of the family that T4, P100 and V100 GPUs attach to.
        "--machine_type=n1-standard-8",
        # For the image with TensorFlow; blocks stay in memory, and the service holds the shuffle.
        "--disk_size_gb=50",
    ),
}
"""Options by the name of a preset; those of the configuration and after `--` override them."""
