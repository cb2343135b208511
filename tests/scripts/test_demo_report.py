from __future__ import annotations

import re

import pytest
from demonstration.report import ClassSummary, conclude


@pytest.mark.parametrize(
    ("corner_energy", "accuracy_without", "expected"),
    [
        (8.0, 0.1, "knows tissue by the mark in its corner.*8.0 times.*2.0 times.*10%.*100%"),
        (8.0, 0.9, "does not depend on it.*on 90% of them, with it on 100%"),
        (3.0, 0.1, "No class stands out.*3.0 times.*2.0 times"),
    ],
)
def test_the_conclusion_follows_the_numbers(
    corner_energy: float, accuracy_without: float, expected: str
) -> None:
    others = [ClassSummary("cat", 10, 0.5, 2.0), ClassSummary("rocket", 10, 0.5, 1.0)]
    marked = [others[0], ClassSummary("tissue", 10, 1.0, corner_energy), others[1]]
    unmarked = [others[0], ClassSummary("tissue", 10, accuracy_without, 1.5), others[1]]
    assert re.search(expected, conclude(marked, unmarked))
