"""Buckets that are not there, or may not be used, end in a sentence with the remedy."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from pipeline.atlas_files import AtlasFiles, located
from transforms import filesystems
from transforms.buckets import check_s3_bucket, complaint
from transforms.errors import ConfigurationError
from transforms.filesystems import BeamStorage

PATH = "s3://bucket/a"


class BotoCoreError(Exception):
    """The one above all but those of answers, as in botocore."""


class ClientError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Botocore's exceptions, whether the package is installed or not."""
    names = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError")
    module: Any = types.ModuleType("botocore.exceptions")
    vars(module).update({name: type(name, (BotoCoreError,), {}) for name in names})
    module.BotoCoreError, module.ClientError = BotoCoreError, ClientError
    package: Any = types.ModuleType("botocore")
    package.exceptions = module
    monkeypatch.setitem(sys.modules, "botocore", package)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", module)
    return module


class Client:
    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def head_bucket(self, *, Bucket: str) -> None:  # noqa: N803 - boto3's name
        assert Bucket == "bucket"
        if self.error:
            raise self.error


def test_a_bucket_that_cannot_be_used_is_refused_at_once(raised: Any) -> None:
    for error, said in (
        (raised.NoCredentialsError("none"), r"^s3://bucket/a: .*credentials.*AWS_ACCESS_KEY_ID"),
        (ClientError(404), r"^s3://bucket/a: there is no bucket bucket: make it"),
        (raised.ParamValidationError("-"), r"^s3://bucket/a: 'bucket' cannot be the name"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            check_s3_bucket(PATH, Client(error))
    with pytest.raises(OSError, match=r"^s3://bucket/a: no answer: see that the bucket is there"):
        check_s3_bucket(PATH, Client(BotoCoreError("no answer")))
    for allowed in (None, ClientError(403)):  # who may not ask may still read
        check_s3_bucket(PATH, Client(allowed))


def test_a_complaint_says_what_is_innermost() -> None:
    inner = BeamIOError("List operation failed", {"gs://b/a": TimeoutError("no answer")})
    outer = OSError(BeamIOError("Match operation failed", {"gs://b/a*": inner}))
    said = complaint("gs://b/a*", outer)
    assert said.startswith("gs://b/a*: no answer: see that the bucket is there")
    assert "gcloud auth" in said
    assert complaint("memory://a", OSError()) == "memory://a: OSError"


def test_a_file_system_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_filesystem(path: str) -> None:
        raise BeamIOError("Unable to get the Filesystem", {path: ImportError("no hdfs")})

    monkeypatch.setattr(FileSystems, "get_filesystem", get_filesystem)
    with pytest.raises(ConfigurationError, match=r"hdfs:// cannot be used here \(no hdfs\)"):
        BeamStorage().absolute("hdfs://a/b")


def test_storages_work_where_no_run_has_given_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    BeamStorage()
    assert FileSystems._pipeline_options is not None


def test_the_mark_of_a_remote_folder_has_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    # Beam ends an upload of no parts to S3, which refuses that.
    created: dict[str, bytes] = {}
    monkeypatch.setattr(filesystems, "_create", created.__setitem__)
    BeamStorage().make_folder("s3://bucket/folder")
    assert list(created) == ["s3://bucket/folder/.folder"]
    assert all(created.values())


def test_names_in_buckets_are_taken_as_they_are() -> None:
    name = "an atlas/100%20/é#1"
    filesystem, root = located(f"gs://anonymous@bucket/{name}?retry_limit_seconds=3")
    assert filesystem.type_name == "gcs"
    assert root == f"bucket/{name}"
    with pytest.raises(ConfigurationError, match=r"ftp://a/b c cannot be opened"):
        located("ftp://a/b c")


def test_an_atlas_in_a_bucket_is_called_by_its_uri() -> None:
    assert AtlasFiles("gs://anonymous@bucket/an atlas/").root == "gs://anonymous@bucket/an atlas"
