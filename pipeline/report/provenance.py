"""What an atlas is made of, from its manifest: the line below the verdict, and the details."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.certificate.result import Certificate
from pipeline.certificate.words import sentences, title
from pipeline.report import wording

_GROUPS = 50  # kinds of failures that are listed
_SHOWN = 5  # records per kind


@dataclasses.dataclass(frozen=True)
class Fact:
    """A thing that the line of provenance says.

    Attributes:
      name: What.
      value: In words.
      section: Where its details are on the page.
    """

    name: str
    value: str
    section: str


@dataclasses.dataclass(frozen=True)
class FailureGroup:
    """Failures of one kind.

    Attributes:
      stage: Where they failed.
      error: The fault's name.
      count: How many.
      message: Of the first.
      places: Shard and record of the first few.
    """

    stage: str
    error: str
    count: int
    message: str
    places: tuple[str, ...]


def facts(manifest: Mapping[str, Any], classes: int) -> list[Fact]:
    """The line of provenance.

    Args:
      manifest: The atlas's.
      classes: How many classes have maps.
    """
    config = manifest["config"]
    explained = manifest.get("explained_examples")
    failed = manifest.get("failed_records")
    noun = "image" if config["source"]["input"]["kind"] == "image" else "example"
    pattern = config["source"]["pattern"]
    patterns = [pattern] if isinstance(pattern, str) else pattern
    explained_text = (
        "not counted yet"
        if explained is None
        else f"{wording.count(explained, noun)} in {wording.count(classes, 'class', 'classes')}"
    )
    return [
        Fact("Model", _last(config["model"]["uri"]), "made"),
        Fact("Data", ", ".join(_last(each) for each in patterns), "made"),
        Fact("Method", _method(config["explain"]), "read"),
        Fact("Made", manifest["started"][:16].replace("T", ", ") + " UTC", "made"),
        Fact("Explained", explained_text, "classes"),
        Fact("Failed", "not counted yet" if failed is None else f"{failed:,}", "failures"),
    ]


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path


def _method(explain: Mapping[str, Any]) -> str:
    target = explain["target"]
    if isinstance(target, dict):
        ((kind, number),) = target.items()
        target = f"class {number}" if kind == "class" else f"the {number} largest outputs"
    else:
        target = {"label": "the label's output", "predicted": "the largest output"}[target]
    method = explain["method"]
    document: Mapping[str, Mapping[str, Any]] = method if isinstance(method, dict) else {method: {}}
    ((name, parameters),) = document.items()
    given = ", ".join(f"{each} {value}" for each, value in parameters.items())
    return f"{name.replace('_', ' ')}{f' ({given})' if given else ''} of {target}"


def details(manifest: Mapping[str, Any], path: str) -> list[tuple[str, str]]:
    """Names and values, for whoever has to make the same atlas again."""
    result = [
        ("Atlas", path),
        ("Status", manifest["status"]),
        ("Fingerprint", manifest["fingerprint"]),
        ("Model", manifest["config"]["model"]["uri"]),
        ("Engine", _engine(manifest)),
        ("Runner", manifest["runner"] or "none"),
        ("Input files", f"{len(manifest['shards']):,}"),
    ]
    if manifest.get("engine_notes"):
        result.append(("Of the engine", "; ".join(manifest["engine_notes"])))
    if "wall_seconds" in manifest:
        result.append(("Took", f"{wording.two_digits(manifest['wall_seconds'])} s"))
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    return [*result, ("Versions", versions)]


def _engine(manifest: Mapping[str, Any]) -> str:
    """What computed the maps, how precisely, and how many at once."""
    precision = manifest["settings"].get("explain", {}).get("precision")  # of what `auto` came to
    said = [manifest["engine"], precision, f"batches of {manifest['batch_size']}"]
    return ", ".join(each for each in said if each)


def command(manifest: Mapping[str, Any]) -> str:
    """What makes the same atlas, once the configuration below is in a file."""
    path = shlex.quote(manifest["config"]["output"]["path"])
    return f"saliency-atlas run config.yaml --set output.path={path}-again"


def settings(manifest: Mapping[str, Any]) -> str:
    """The whole configuration: JSON, which YAML's readers read too."""
    return json.dumps(manifest["config"], indent=2, ensure_ascii=False)


def certified(manifest: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]] | None:
    """What was tried of the method on the model: of how many, and what came of it; None for none.

    Args:
      manifest: The atlas's.
    """
    found = manifest.get("certificate")
    if found is None:
        return None
    certificate = Certificate.model_validate(found)
    return title(certificate), sentences(certificate)


def image_warnings(manifest: Mapping[str, Any]) -> tuple[int, list[tuple[str, int, str]]]:
    """How many images were decoded with a warning, and path, record and message of the first."""
    first = manifest.get("first_warnings", ())  # of older atlases they are not known
    listed = [(each["path"], each["record"], each["message"]) for each in first]
    return manifest.get("warned_images", 0), listed


def failure_groups(failures: pa.Table) -> list[FailureGroup]:
    """Failures by stage and error, the commonest first."""
    found: dict[tuple[str, str], list[Any]] = {}
    for batch in failures.to_batches():
        for row in batch.to_pylist():
            group = found.setdefault((row["stage"], row["error"]), [0, row["message"], []])
            group[0] += 1
            if len(group[2]) < _SHOWN:
                record = "" if row["record"] is None else f", record {row['record']:,}"
                group[2].append(f"{row['shard']}{record}")
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        FailureGroup(stage, error, number, message, tuple(places))
        for (stage, error), (number, message, places) in ordered[:_GROUPS]
    ]
