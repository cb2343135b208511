"""`model.imports`: a model's own code is imported before it is loaded, and identified."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from transforms.errors import ConfigurationError
from transforms.models.loading import ModelSpec, load_model
from transforms.models.opening.imports import import_modules, module_digest
from transforms.storage import LocalStorage

KEY = "model.imports"

CODE = """
import keras

{decorator}
class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs
"""

MODULES = {
    "registered_layers": "@keras.saving.register_keras_serializable('mine')",
    "plain_layers": "",
}
SAVING = """
import keras
from own_package import {modules}
for module in ({modules}):
    model = keras.Sequential([keras.Input((3,)), module.Doubling()])
    model.save(module.__name__ + ".keras")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of another process's, of which this one has never heard; their code has moved."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_package").mkdir()
    for module, decorator in MODULES.items():
        code = CODE.format(decorator=decorator)
        (folder / "own_package" / f"{module}.py").write_text(code)
    saving = SAVING.format(modules=", ".join(MODULES))
    subprocess.run([sys.executable, "-c", saving], cwd=folder, check=True)  # noqa: S603 - ours
    (folder / "own_package").rename(folder / "moved")
    return folder


@pytest.mark.parametrize("module", MODULES)
def test_layers_of_ones_own(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    uri, storage = str(folder / f"own_package.{module}.keras"), LocalStorage()

    with pytest.raises(ConfigurationError, match=r"'Doubling', .*name its module in model.imports"):
        load_model(ModelSpec(uri), storage)
    loaded = load_model(ModelSpec(uri, imports=(f"moved.{module}",)), storage)

    values = np.array([[1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_array_equal(loaded(keras.ops.convert_to_tensor(values)), 2 * values)


def test_only_what_a_module_defines_is_its_own() -> None:
    assert "import_modules" in import_modules(["transforms.models.opening.imports"])
    assert "Path" not in import_modules(["transforms.models.opening.imports"])


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("no_such_module_here", None, "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("raising_module", "raise OSError('no licence')", "OSError: no licence"),
    ],
)
def test_what_cannot_be_imported_is_named(
    name: str, code: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code is not None:
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
    message = rf"^model.imports: module '{name}' cannot be imported \({why}\); install it, or put"
    with pytest.raises(ConfigurationError, match=message):
        load_model(ModelSpec("model.keras", imports=(name,)), LocalStorage())


def test_a_digest_is_that_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "digested.py").write_text("A = 1")
    (tmp_path / "other_digested.py").write_text("A = 1")
    package = tmp_path / "digested_package"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/layers.py"):
        (package / name).write_text("")

    alone, whole = module_digest(KEY, "digested"), module_digest(KEY, "digested_package")
    assert alone == module_digest(KEY, "other_digested")
    (tmp_path / "digested.py").write_text("A = 2")
    (package / "inner" / "layers.py").write_text("A = 2")
    assert alone != module_digest(KEY, "digested")
    assert whole != module_digest(KEY, "digested_package")
    assert "digested" not in sys.modules
    assert module_digest(KEY, "sys")  # built in: there is no file
    with pytest.raises(
        ConfigurationError, match=r"^model.imports: there is no module 'absent_one'"
    ):
        module_digest(KEY, "absent_one")
    with pytest.raises(ConfigurationError, match=r"^model.imports: module 'absent_one.b' cannot"):
        module_digest(KEY, "absent_one.b")
