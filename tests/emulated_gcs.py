"""A bucket of an emulator in this process, where its package is installed."""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
from collections.abc import Iterator

import pytest

from transforms.filesystems import BeamStorage

BUCKET = "atlases"


@dataclasses.dataclass(frozen=True)
class EmulatedGcs:
    """The emulator's bucket, and where its server listens."""

    bucket: str
    address: str

    def uri(self, name: str) -> str:
        return f"gs://{self.bucket}/{name}"

    def write(self, name: str, data: bytes) -> str:
        folder = self.uri(f"writing/{name}")
        BeamStorage().make_folder(folder)
        BeamStorage().replace(f"{folder}/x", self.uri(name), data)
        BeamStorage().delete(folder)
        return self.uri(name)


@pytest.fixture(scope="module")
def gcs() -> Iterator[EmulatedGcs]:
    pytest.importorskip("google.cloud.storage", reason="apache-beam[gcp] is not installed")
    server_module = pytest.importorskip(
        "gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    # The emulator warns of each answer that is text rather than a stream.
    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "STORAGE_EMULATOR_HOST", address)
        # There are none to be found, and Beam would look for 20 seconds.
        auth = pytest.importorskip("apache_beam.internal.gcp.auth")
        patch.setattr(auth._Credentials, "_credentials_init", True)
        server = server_module.create_server(
            "127.0.0.1", port, in_memory=True, default_bucket=BUCKET
        )
        server.start()
        yield EmulatedGcs(BUCKET, address)
        server.stop()
