from __future__ import annotations

import pytest

from transforms.errors import RunError
from transforms.store.budget import FailureBudget


def test_a_budget_is_over_once_no_other_record_can_save_it() -> None:
    budget = FailureBudget(0.01, most_records=1000)
    budget.check(10)
    with pytest.raises(RunError, match="11 records have failed already, of 1000 at most, more tha"):
        budget.check(11)
