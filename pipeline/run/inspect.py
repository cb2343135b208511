"""Step 1 of a run: what its inputs are. Reads a little of some files; nothing is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipeline.config.keys import Config
from pipeline.run.progress import Announce, unheard
from transforms.elements import NO_LABEL, Examples, Shard
from transforms.errors import ConfigurationError
from transforms.formats.drawing import draw_sample
from transforms.formats.estimate import estimate_records, most_records
from transforms.formats.images.masks import decode_mask, encode_mask
from transforms.formats.reader import feature_names, probe
from transforms.formats.sample import DrawnSample
from transforms.formats.source import InputSpec, SourceSpec
from transforms.formats.tfrecord.index import without_indexes
from transforms.listing import matches
from transforms.statistics.regions import Region
from transforms.storage import Storage, join
from transforms.store.layout import CLASSES, FAILURES, MANIFEST, block_path
from transforms.store.manifest import Manifest

_PROBED_SHARDS = 8  # Shards looked into for a first example, before a dataset counts as empty.
_PROBED_RECORDS = 128  # of each of them, for a feature that only some records have


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The input files of a run and what is in them.

    Attributes:
      shards: The files, sorted.
      source: What is in them.
      spec: What the model is to take.
      regions: Those that statistics are of, by name.
      records_estimated: How many records they have.
      most_records: How many they have at most; None where that is not known.
      drawn: The sample to explain; None where none is asked for.
    """

    shards: tuple[Shard, ...]
    source: SourceSpec
    spec: InputSpec
    regions: tuple[Region, ...]
    records_estimated: int
    most_records: int | None
    drawn: DrawnSample | None = None

    @property
    def examples_estimated(self) -> int:
        """How many examples are to be explained."""
        if self.drawn is None:
            return self.records_estimated
        return min(self.drawn.size, self.drawn.examples)


@dataclasses.dataclass(frozen=True)
class FirstExamples:
    """Examples that a run is tried on before it begins.

    Attributes:
      shard: The first file that has any.
      examples: At least one.
    """

    shard: Shard
    examples: Examples


def inspect_inputs(
    config: Config,
    storage: Storage,
    recorded: Manifest | None = None,
    *,
    announce: Announce = unheard,
) -> Inputs:
    """Lists the input files, reads class names and masks of regions, and draws a sample.

    Args:
      config: The configuration.
      storage: Where the files are.
      recorded: The manifest of the atlas that is being completed, whose sample stays.
      announce: Is told where a sample is drawn, which may take a while.

    Raises:
      ConfigurationError: A pattern that no file matches, class names or masks that cannot be read,
        or files that are new to an atlas of a sample.
    """
    _require_apart(config, storage)
    shards = list_shards(config, storage)
    source = config.source_spec(class_names_of(config, storage))
    drawn = None
    if config.source.sample is not None:
        drawn = _recorded_sample(config.source.sample, shards, recorded)
        if drawn is None:
            announce("drawing the sample")
            size, block_size = config.source.sample, config.output.block_size
            drawn = draw_sample(shards, source, block_size, size, storage)
        source = dataclasses.replace(source, sample=drawn.sample)
    return Inputs(
        shards=shards,
        source=source,
        spec=config.input_spec(),
        regions=regions_of(config, storage),
        records_estimated=estimate_records(shards, source, storage),
        # What a sample leaves out is neither explained nor failed.
        most_records=None if source.sample else most_records(shards, source, storage),
        drawn=drawn,
    )


def _recorded_sample(
    size: int, shards: Sequence[Shard], recorded: Manifest | None
) -> DrawnSample | None:
    """The sample of an atlas that was begun with one of this size; None where there is none.

    Raises:
      ConfigurationError: It is of other files than those that there are now.
    """
    drawn = None if recorded is None else recorded.sample
    if recorded is None or drawn is None or drawn.size != size:
        return None  # Of another size: what differs is said where settings are compared.
    known = {shard.path for shard in recorded.input_files}
    new = [shard.path for shard in shards if shard.path not in known]
    if new:
        raise ConfigurationError(
            f"source.sample is {size}, of the input files that the atlas was begun with, and "
            f"{len(new)} are new to it, such as {new[0]}: give a pattern without them, or another "
            "output.path for an atlas of a sample of all"
        )
    return drawn


def _require_apart(config: Config, storage: Storage) -> None:
    """Refuses an atlas whose own files the next run would take for inputs.

    Raises:
      ConfigurationError: A pattern matches what a run writes.
    """
    atlas = storage.absolute(config.output.path)
    shard = Shard(join(atlas, "input"), 0)
    written = [join(atlas, name) for name in (MANIFEST, CLASSES, FAILURES)]
    written.append(block_path(atlas, shard, 0))
    for pattern in config.source.patterns:
        if any(matches(storage.absolute(pattern), path) for path in written):
            raise ConfigurationError(
                f"output.path: {atlas} lies where source.pattern {pattern!r} looks for inputs, so "
                "the next run would read the atlas: give another path, or a narrower pattern"
            )


def list_shards(config: Config, storage: Storage) -> tuple[Shard, ...]:
    """The input files, sorted and each once; their indexes are not among them.

    Raises:
      ConfigurationError: A pattern that no file matches, or something that is no regular file.
    """
    found: dict[str, Shard] = {}
    for pattern in config.source.patterns:
        try:
            entries = storage.match_inputs(storage.absolute(pattern))
        except ConfigurationError as error:
            raise ConfigurationError(f"source.pattern: {error}") from error
        if not entries:
            raise ConfigurationError(
                f"source.pattern: no file matches {pattern!r} "
                f"({storage.absolute(pattern)}); give a glob that matches the input files"
            )
        for entry in entries:
            found[entry.path] = Shard(entry.path, entry.size, entry.version)
    shards = tuple(found[path] for path in without_indexes(sorted(found)))
    _require_folders_of_their_own(shards)
    return shards


def _require_folders_of_their_own(shards: Sequence[Shard]) -> None:
    """Two files whose paths have the same 64 bits of a hash would write into one folder."""
    known: dict[str, Shard] = {}
    for shard in shards:
        other = known.setdefault(shard.folder, shard)
        if other is not shard:
            raise ConfigurationError(
                f"source.pattern: {other.path} and {shard.path} would have the same folder "
                f"{shard.folder} in the atlas: rename one of them"
            )


def class_names_of(config: Config, storage: Storage) -> tuple[str, ...]:
    """The lines of the file `source.classes`; none where it is not given.

    Raises:
      ConfigurationError: A file that is not one name a line.
    """
    path = config.source.classes
    if path is None:
        return ()
    try:
        with storage.open(storage.absolute(path)) as stream:
            text = stream.read().decode("utf-8-sig")  # a mark at the beginning is no name's
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"source.classes: {path} cannot be read as a text file ({error}); "
            "give a file with a class name a line"
        ) from error
    names = [name.strip() for name in text.rstrip().split("\n")]
    for line, name in enumerate(names, start=1):
        if not name:
            what = "is empty" if len(names) == 1 else f"has no name in line {line}"
            raise ConfigurationError(
                f"source.classes: {path} {what}; give a file with a class name a line"
            )
    return tuple(names)


def regions_of(config: Config, storage: Storage) -> tuple[Region, ...]:
    """The regions of `statistics.regions`, by name, their masks read.

    Raises:
      ConfigurationError: A mask that cannot be read, or a region of which nothing, or all there is,
        is in the model's input.
    """
    spec = config.input_spec()
    found = []
    if not config.statistics.regions or not spec.has_channels:  # regions are refused elsewhere
        return ()
    for name, given in sorted(config.statistics.regions.items()):
        key = f"statistics.regions.{name}"
        if not isinstance(given, str):
            region = Region(name, given)
        else:
            try:
                with storage.open(storage.absolute(given)) as stream:
                    inside = decode_mask(stream.read(), spec.max_pixels)
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"{key}: {given} cannot be read as a mask ({error}); give a PNG file in which "
                    "the region is neither black nor transparent, or rectangles [[y0, x0, y1, x1]]"
                ) from error
            if not inside.any():
                raise ConfigurationError(
                    f"{key}: {given} is black or transparent throughout, so nothing is in the "
                    "region; draw it in another colour"
                )
            region = Region(name, mask=encode_mask(inside))  # small, as it goes to all workers
        _check_area(key, region.area_in(spec))
        found.append(region)
    return tuple(found)


def _check_area(key: str, area: float) -> None:
    if area == 0:
        raise ConfigurationError(
            f"{key} lies where source.input.crop and source.input.fit cut the images: give a "
            "region of what the model is shown"
        )
    if area == 1:
        raise ConfigurationError(
            f"{key} is all that the model is shown, so all of the saliency is in it: give a part"
        )


def first_examples(inputs: Inputs, storage: Storage, count: int) -> FirstExamples | None:
    """The first examples there are, at most `count`.

    Returns:
      None if the first files hold none.

    Raises:
      ConfigurationError: The first files have records, but none makes an example.
    """
    refusal: ConfigurationError | None = None
    for shard in inputs.shards[:_PROBED_SHARDS]:
        try:
            examples = probe(shard, inputs.source, inputs.spec, storage, count)
        except ConfigurationError as error:
            # One damaged file among good ones is a matter of failure rows, not of the settings.
            refusal = refusal or error
            continue
        if len(examples):
            return FirstExamples(shard, examples)
    if refusal is not None:
        raise refusal
    return None


def require_labels(inputs: Inputs, first: FirstExamples) -> None:
    """Refuses a feature of labels that no example has a value of, where labels are explained.

    Raises:
      ConfigurationError: None of the first examples has a label.
    """
    if (first.examples.labels == NO_LABEL).all():
        raise ConfigurationError(
            f"source.features.label is {inputs.source.features.label!r}, of which none of the "
            f"first {len(first.examples)} examples has a value; name another feature, or set "
            "explain.target to predicted"
        )


def require_places(inputs: Inputs, first: FirstExamples, storage: Storage) -> None:
    """Refuses a feature of boxes or masks that no example has; that some have none is no fault.

    Args:
      inputs: What is explained.
      first: Examples; where one of them has boxes and a mask, nothing else is looked at.
      storage: Where the inputs are.

    Raises:
      ConfigurationError: None of the first records of the first files has the feature.
    """
    features, examples = inputs.source.features, first.examples
    wanted: dict[str, str] = {}
    if features.boxes is not None and not any(map(len, examples.boxes or ())):
        wanted["source.features.boxes"] = features.boxes
    if features.mask is not None and not any(examples.masks or ()):
        wanted["source.features.mask"] = features.mask
    found: set[str] = set()
    for shard in inputs.shards[:_PROBED_SHARDS] if wanted else ():
        found |= feature_names(shard, inputs.source, storage, _PROBED_RECORDS)
        if found.issuperset(wanted.values()):
            return
    for key, name in wanted.items():
        if name not in found:
            raise ConfigurationError(
                f"{key} is {name!r}, which none of the first examples has; "
                f"there are: {', '.join(sorted(found))}; name one of them, or leave it out"
            )


def no_examples_warning(shards: Sequence[Shard]) -> str:
    """What to say where `first_examples` finds none."""
    return f"no example in the first {min(len(shards), _PROBED_SHARDS)} files"
