from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import keras
import pytest

from transforms.errors import ConfigurationError
from transforms.models.files import (
    list_model,
    local_model,
    model_digest,
    open_keras,
    open_saved_model,
    reason,
)
from transforms.storage import FileEntry, LocalStorage

SCHEME = "bucket://models"


class RemoteStorage(LocalStorage):
    """A folder seen as `bucket://models`."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def open(self, path: str) -> BinaryIO:
        return super().open(path.replace(SCHEME, self.folder))

    def match(self, pattern: str) -> list[FileEntry]:
        found = super().match(pattern.replace(SCHEME, self.folder))
        return [FileEntry(each.path.replace(self.folder, SCHEME), each.size) for each in found]

    def absolute(self, path: str) -> str:
        return path


def write(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def saved_model(folder: Path, variables: bytes = b"variables") -> Path:
    write(folder / "saved_model.pb", b"graph")
    write(folder / "variables" / "variables.index", variables)
    return folder


def test_digest_is_that_of_the_content_alone(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "one.keras")
    second = write(tmp_path / "b" / "two.keras")
    storage = LocalStorage()

    digest = model_digest(str(first), storage)

    assert len(digest) == 64
    assert model_digest(str(second), storage) == digest
    assert model_digest(f"{SCHEME}/b/two.keras", RemoteStorage(tmp_path)) == digest
    write(second, b"Content")
    assert model_digest(str(second), storage) != digest


def test_digest_of_a_folder_covers_names_and_bytes(tmp_path: Path) -> None:
    storage = LocalStorage()
    digest = model_digest(str(saved_model(tmp_path / "first")), storage)

    assert model_digest(f"{saved_model(tmp_path / 'second')}/", storage) == digest
    assert model_digest(f"{SCHEME}/second", RemoteStorage(tmp_path)) == digest
    other = saved_model(tmp_path / "other", b"Variables")
    assert model_digest(str(other), storage) != digest
    renamed = saved_model(tmp_path / "renamed")
    (renamed / "variables" / "variables.index").rename(renamed / "variables" / "variables")
    assert model_digest(str(renamed), storage) != digest


def test_names_with_glob_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "run[1]*" / "model.keras")
    folder = saved_model(tmp_path / "run[1]*" / "folder")

    assert model_digest(str(path), LocalStorage())
    assert model_digest(str(folder), LocalStorage())


def test_local_models_are_opened_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "model.keras")

    with local_model(str(path), LocalStorage()) as local:
        assert local == str(path)
    assert path.exists()


def test_a_local_model_whose_path_is_not_utf_8_is_copied(tmp_path: Path) -> None:
    storage = LocalStorage()
    folder = saved_model(tmp_path / os.fsdecode(b"caf\xe9"))
    strange = write(folder / "assets" / os.fsdecode(b"\xff.txt"))

    assert len(model_digest(str(folder), storage)) == 64
    with local_model(str(folder), storage) as local:
        assert local.encode().endswith(b"caf\\xe9")
        assert Path(local, "saved_model.pb").read_bytes() == b"graph"
        assert Path(local, "assets", strange.name).read_bytes() == b"content"
    assert folder.exists()
    assert not os.path.exists(local)


def test_remote_models_are_copied_and_the_copy_deleted(tmp_path: Path) -> None:
    saved_model(tmp_path / "model")
    write(tmp_path / "model.h5")
    storage = RemoteStorage(tmp_path)

    with local_model(f"{SCHEME}/model/", storage) as folder:
        assert Path(folder, "saved_model.pb").read_bytes() == b"graph"
        assert Path(folder, "variables", "variables.index").read_bytes() == b"variables"
    with local_model(f"{SCHEME}/model.h5", storage) as file:
        assert file.endswith("model.h5")
        assert Path(file).read_bytes() == b"content"
    assert not os.path.exists(os.path.dirname(folder))
    assert not os.path.exists(os.path.dirname(file))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.keras", "there is no model file .*none.keras; correct model.uri"),
        ("none.h5", "there is no model file .*none.h5"),
        ("none", "none is not there; model.uri must be a .keras, .h5 or .hdf5 file or a folder"),
        ("model.tflite", "model.tflite is a TensorFlow Lite model"),
        ("folder", "folder is no SavedModel folder"),
    ],
)
@pytest.mark.parametrize("remote", [True, False])
def test_what_is_no_model_is_named(tmp_path: Path, name: str, message: str, remote: bool) -> None:
    write(tmp_path / "model.tflite")
    write(tmp_path / "folder" / "weights.bin")
    storage = RemoteStorage(tmp_path) if remote else LocalStorage()
    uri = f"{SCHEME}/{name}" if remote else str(tmp_path / name)

    with pytest.raises(ConfigurationError, match=message):
        model_digest(uri, storage)
    with pytest.raises(ConfigurationError, match=message), local_model(uri, storage):
        pass


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    class Refusing(LocalStorage):
        def open(self, path: str) -> BinaryIO:
            raise PermissionError(f"not allowed: {path}")

    class Unlisted(LocalStorage):
        def match(self, pattern: str) -> list[FileEntry]:
            raise PermissionError(f"not allowed: {pattern}")

    path = write(tmp_path / "model.keras")

    for storage in (Refusing(), Unlisted()):
        with pytest.raises(ConfigurationError, match=r"cannot be read \(PermissionError: not a"):
            model_digest(str(path), storage)


@pytest.mark.parametrize("name", ["bad.keras", "bad.h5"])
def test_damaged_keras_file(tmp_path: Path, name: str) -> None:
    path = str(write(tmp_path / name))

    with pytest.raises(ConfigurationError, match=rf"{name} cannot be loaded \(") as caught:
        open_keras(path, path, allow_unsafe=False)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_keras_file_without_weights(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.keras", tmp_path / "cut.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as copy:
        copy.writestr("config.json", source.read("config.json"))
        copy.writestr("metadata.json", source.read("metadata.json"))

    with pytest.raises(ConfigurationError, match=r"cut\.keras cannot be loaded"):
        open_keras(str(cut), str(cut), allow_unsafe=False)


def test_damaged_saved_model(tmp_path: Path) -> None:
    folder = str(saved_model(tmp_path / "model"))

    with pytest.raises(ConfigurationError, match="cannot be loaded") as caught:
        open_saved_model(folder, folder)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_lambda_layers_are_refused_unless_allowed(tmp_path: Path, extension: str) -> None:
    path = str(tmp_path / f"model.{extension}")
    layers = keras.layers
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(2)]).save(
        path
    )

    with pytest.raises(ConfigurationError, match=r"set model\.allow_unsafe: true"):
        open_keras(path, path, allow_unsafe=False)
    assert len(open_keras(path, path, allow_unsafe=True).layers) == 2


class Unregistered(keras.layers.Layer):  # type: ignore[misc,unused-ignore]
    pass


@pytest.mark.parametrize("extension", ["keras", "h5"])
def test_custom_layers_name_the_way_out(tmp_path: Path, extension: str) -> None:
    path = str(tmp_path / f"model.{extension}")
    keras.Sequential([keras.Input((4,)), Unregistered()]).save(path)

    with pytest.raises(
        ConfigurationError, match=r"made of 'Unregistered', .*model.imports, or export it as a Sav"
    ):
        open_keras(path, path, allow_unsafe=False)


def test_reasons_fit_in_a_sentence() -> None:
    assert reason(ValueError("Bad weights. A long story.\nAnd more.")) == "ValueError: Bad weights"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("x" * 1000))) < 300


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("model.tflite", "a TensorFlow Lite model, which has no gradients; give the Keras model"),
        ("model.onnx", "an ONNX model; convert it to a SavedModel"),
        ("model.PT", "a PyTorch model; convert it to a SavedModel"),
    ],
)
def test_other_formats_are_named(name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(ConfigurationError, match=f"{name} is {what}"):
        list_model(str(tmp_path / name), LocalStorage())
