"""Tries candidates and proposals on a model in memory, as `audit --confirm` does on files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from calibration.explaining import TablesInMemory
from calibration.kinds import Scene
from calibration.network import Network
from pipeline.audit.shortcuts.candidates import Candidate
from pipeline.audit.shortcuts.shortcut import Shortcut
from pipeline.audit.shortcuts.trying import Screened
from pipeline.config.audit_section import AuditSection
from pipeline.confirm.confirm import MAX_EXAMPLES, generator_of, try_on_model
from pipeline.confirm.experiment import Subject
from pipeline.confirm.interventions import Mask, mask_of_cells
from pipeline.confirm.property_changes import Images
from pipeline.confirm.property_experiment import try_property
from pipeline.confirm.screening import SCREENING_IMAGES, screen
from transforms.codec import decode
from transforms.statistics.groups.folds import folds_of
from transforms.statistics.peak_windows import peak_square
from transforms.store.map_format import map_codes

_DEFAULTS = AuditSection.model_validate({})

Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trained model, its tiles and what an atlas of them would have.

    Attributes:
      scene: The tiles.
      trained: The model.
      tables: The atlas.
    """

    scene: Scene
    trained: Network
    tables: TablesInMemory

    def screen(self, proposal: Candidate) -> Screened | None:
        """The screening, by tiles of half a that the model takes for their class."""
        if proposal.finding.indicator == "property":
            return None
        target = proposal.finding.class_number
        is_known = self.tables.table["predicted"].to_numpy() == target
        own = self._rows(half=0, chosen=is_known & (self.scene.audited.labels == target))
        subjects = self._subjects(proposal, own[:SCREENING_IMAGES])
        return screen(subjects, target, self.trained.predict, generator_of)

    def confirm(self, candidate: Candidate) -> Shortcut:
        """The experiment, by tiles of half b."""
        if candidate.finding.indicator == "property":
            return try_property(
                candidate.finding,
                self.tables.classes,
                self._images_of,
                self.trained.predict,
                stands_out=candidate.stands_out,
                min_effect=_DEFAULTS.min_effect,
                confidence=_DEFAULTS.confidence,
            )
        target = candidate.finding.class_number
        is_own = self.scene.audited.labels == target
        own = self._rows(half=1, chosen=is_own)[:MAX_EXAMPLES]
        others = self._rows(half=1, chosen=~is_own)
        others = np.sort(random_of_class(target).permutation(others)[:MAX_EXAMPLES])
        images = self.scene.audited.pixels
        return try_on_model(
            candidate.finding,
            self._subjects(candidate, own),
            [images[row].astype(np.float32) for row in others.tolist()],
            self.trained.predict,
            min_effect=_DEFAULTS.min_effect,
            confidence=_DEFAULTS.confidence,
        )

    def _images_of(self, classes: Sequence[int]) -> dict[int, Images]:
        """Tiles of classes, of half b."""
        labels, pixels = self.scene.audited.labels, self.scene.audited.pixels
        return {
            each: pixels[self._rows(half=1, chosen=labels == each)[:MAX_EXAMPLES]].astype(
                np.float32
            )
            for each in classes
        }

    def _rows(self, half: int, chosen: npt.NDArray[np.bool_]) -> Rows:
        halves = folds_of(self.tables.table["example_id"].to_pylist()) % 2
        return np.flatnonzero((halves == half) & chosen)

    def _subjects(self, candidate: Candidate, rows: Rows) -> list[Subject]:
        table, images = self.tables.table.take(pa.array(rows)), self.scene.audited.pixels
        ids = table["example_id"].to_pylist()
        return [
            Subject(name, images[row].astype(np.float32), mask)
            for name, row, mask in zip(ids, rows.tolist(), _masks(candidate, table), strict=True)
            if mask is not None
        ]


def random_of_class(target: int) -> np.random.Generator:
    """What draws a class's images of other classes."""
    return np.random.default_rng(target)


def _masks(candidate: Candidate, rows: pa.Table) -> Sequence[Mask | None]:
    codes = map_codes(rows)
    if candidate.cells is not None:
        return [mask_of_cells(candidate.cells, *codes.shape[1:])] * len(codes)
    values = decode(codes, rows["map_scale"].to_numpy())
    return [peak_square(each) if each.any() else None for each in values]
