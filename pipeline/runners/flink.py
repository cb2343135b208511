"""What Flink has to be told besides Beam's options: its own configuration, which a file holds."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

FOLDER_VARIABLE = "FLINK_CONF_DIR"
"""Names the folder with Flink's configuration, for the job server that Beam starts."""

# Of batch jobs Beam's --number_of_execution_retries is not heard (FlinkExecutionEnvironments sets
# it for streaming), and Flink's own default is to fail a job that has lost a worker. What had been
# explained by then is made again, to the same bytes.
_CONFIGURATION = """\
restart-strategy: fixed-delay
restart-strategy.fixed-delay.attempts: 3
restart-strategy.fixed-delay.delay: 1 s
"""


def let_jobs_restart() -> None:
    """Has Flink begin a job again that has lost a worker, unless a configuration is given."""
    if FOLDER_VARIABLE in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="saliency-atlas-flink-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # Of this name every version of Flink reads it.
    Path(folder, "flink-conf.yaml").write_text(_CONFIGURATION)
    os.environ[FOLDER_VARIABLE] = folder
