from __future__ import annotations

import pytest

from transforms.errors import RunError
from transforms.store.budget import FailureBudget


def test_a_budget_is_over_once_no_other_record_can_save_it() -> None:
    budget = FailureBudget(0.01, most_records=1000)
    budget.check(10)
    with pytest.raises(RunError, match="11 records have failed already, of 1000 at most, more tha"):
        budget.check(11)


def test_a_share_that_is_just_allowed_is_allowed() -> None:
    budget = FailureBudget(0.29, most_records=100)
    budget.check(29)
    with pytest.raises(RunError, match="30 records have failed already, of 100 at most"):
        budget.check(30)
    FailureBudget(0.0, most_records=0).check(0)
