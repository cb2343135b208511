"""What a Dataflow Flex template starts: template parameters in, `saliency-atlas run` out.

The template's launcher calls this file with each parameter as a flag and adds options of Beam's of
its own. It waits for nothing: once the job is submitted, the graph finishes the atlas.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Submits a run.

    Args:
      argv: The flags; those of the process unless given.

    Returns:
      The exit code of `saliency-atlas run`.
    """
    parser = argparse.ArgumentParser(prog="flex_template", allow_abbrev=False)
    parser.add_argument("--config", required=True, help="a YAML file, on gs:// too")
    parser.add_argument("--set", default="", help="overrides, KEY=VALUE KEY=VALUE")
    parser.add_argument("--mode", default="new", choices=("new", "resume", "extend", "overwrite"))
    ours, beam_options = parser.parse_known_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["run", _local_copy(ours.config, Path(folder)), "--runner", "dataflow"]
        for override in shlex.split(ours.set):
            arguments += ["--set", override]
        if ours.mode != "new":
            arguments.append(f"--{ours.mode}")
        return cli.main([*arguments, "--", *beam_options, "--no_wait_until_finish"])


def _local_copy(config: str, folder: Path) -> str:
    from transforms.filesystems import BeamStorage

    path = folder / "config.yaml"
    with BeamStorage().open(config) as stream:
        path.write_bytes(stream.read())
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
