from __future__ import annotations

import gc

import pytest

from transforms.process.importing import importing


def test_garbage_is_collected_again_afterwards() -> None:
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError), importing():
        raise ModuleNotFoundError("No module named 'tensorflow'")
    assert gc.isenabled()


def test_who_collects_none_goes_on_so() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_imported_is_not_looked_through_again() -> None:
    gc.unfreeze()
    try:
        with importing():
            imported = [[] for _ in range(100)]  # type: ignore[var-annotated]
        assert gc.get_freeze_count() >= len(imported)
        assert not any(each is imported for each in gc.get_objects())
    finally:
        gc.unfreeze()
