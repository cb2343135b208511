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
