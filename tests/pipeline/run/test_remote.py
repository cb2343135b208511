"""A whole run with inputs, model and atlas in an emulated bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from emulated_gcs import EmulatedGcs
from small_dataset import MakeConfig

from pipeline.commands.run import run
from pipeline.commands.summarize import summarize
from pipeline.run.progress import Progress
from transforms.filesystems import BeamStorage
from transforms.storage import join


@pytest.fixture(scope="module")
def remote(gcs: EmulatedGcs, tfrecords: Path, model_path: Path) -> dict[str, dict[str, Any]]:
    """The sections of a configuration whose files are all in the bucket."""
    for path in tfrecords.iterdir():
        gcs.write(f"data/{path.name}", path.read_bytes())
    return {
        "source": {"pattern": gcs.uri("data/*.tfrecord")},
        "model": {"uri": gcs.write("model.keras", model_path.read_bytes())},
    }


def make(
    make_config: MakeConfig, remote: dict[str, dict[str, Any]], root: str, mode: Any = "new"
) -> dict[str, Any]:
    source = {**make_config().as_dict()["source"], **remote["source"]}
    config = make_config(source=source, model=remote["model"], output={"path": root})
    return run(config, mode, [], Progress(None))


def bucket_bytes(root: str) -> dict[str, bytes]:
    """Every file of an atlas but the manifest, by the name below SHARD's hash of its path."""
    storage = BeamStorage()
    found = {}
    for entry in storage.match(join(root, "**")):
        if not entry.path.endswith("manifest.json"):
            with storage.open(entry.path) as stream:
                found[entry.path.removeprefix(f"{root}/")] = stream.read()
    return found


def test_run_resume_overwrite_and_summarize(
    gcs: EmulatedGcs,
    remote: dict[str, dict[str, Any]],
    make_config: MakeConfig,
    finished_atlas: Path,
) -> None:
    storage = BeamStorage()
    root = gcs.uri("atlases/train")
    manifest = make(make_config, remote, root)
    assert (manifest["blocks"], manifest["explained_examples"]) == (6, 37)
    made = bucket_bytes(root)
    assert not [name for name in made if name.startswith(".temporary")]

    # The statistics are those of the same files on a disk: they do not depend on where they are.
    for name in ("statistics/classes.parquet", "failures.parquet"):
        assert made[name] == (finished_atlas / name).read_bytes()

    for name in sorted(name for name in made if name.startswith("maps/"))[1::2]:
        storage.delete(join(root, name))
    storage.delete(join(root, "statistics/classes.parquet"))
    resumed = make(make_config, remote, root, "resume")
    assert (resumed["blocks_resumed"], resumed["metrics"]["blocks_committed"]) == (3, 3)
    assert bucket_bytes(root) == made

    again = make(make_config, remote, root, "overwrite")
    assert (again["blocks_resumed"], again["metrics"]["blocks_committed"]) == (0, 6)
    assert bucket_bytes(root) == made

    storage.delete(join(root, "failures.parquet"))
    assert summarize(root, storage)["unchanged"] is True
    assert bucket_bytes(root) == made


def test_a_folder_is_deleted_with_all_below_it(gcs: EmulatedGcs) -> None:
    storage = BeamStorage()
    for name in ("old/a", "old/b/c", "older"):
        gcs.write(f"folders/{name}", b"x")
    storage.delete(gcs.uri("folders/old"))
    left = [entry.path for entry in storage.match(gcs.uri("folders/**"))]
    assert left == [gcs.uri("folders/older")]
    storage.delete(gcs.uri("folders/old"))  # absent is no error
