"""The folder of an audit: written whole or not at all, and read by the next one."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping

import pydantic

from pipeline.audit.files.junit import junit_xml
from pipeline.audit.files.markdown import summary_markdown
from pipeline.audit.files.prometheus import prometheus_text
from pipeline.audit.result import AUDIT_FORMAT, AuditResult, PreviousAudit
from transforms.errors import RunError
from transforms.storage import Storage, join

AUDIT, JUNIT, SUMMARY, METRICS = "audit.json", "junit.xml", "summary.md", "metrics.prom"
BLESSED, NOT_BLESSED = "BLESSED", "NOT_BLESSED"
FILES = (JUNIT, SUMMARY, METRICS, AUDIT, BLESSED, NOT_BLESSED)
"""All that may be there, in the order in which it is written: what others act on comes last."""

_STAGING = ".writing"


def read_previous(folder: str, storage: Storage) -> PreviousAudit | None:
    """The audit that is in a folder; None where there is none.

    Raises:
      RunError: It is damaged, or of a newer version.
    """
    path = join(folder, AUDIT)
    try:
        with storage.open(path) as stream:
            return PreviousAudit.from_json(stream.read())
    except FileNotFoundError:
        return None
    except pydantic.ValidationError as error:
        raise RunError(
            f"{path} is no audit of format {AUDIT_FORMAT} ({error.errors()[0]['msg'].lower()}), so "
            "what is new since cannot be said: move it away, or give another --output"
        ) from error


def write_audit(folder: str, result: AuditResult, storage: Storage) -> None:
    """Writes the files of an audit in place of those of the previous one.

    First all of them under other names, so that what does not fit, or may not be written, changes
    nothing; then BLESSED and NOT_BLESSED go, the files take their places, and the one that is due
    comes last. So a blessing is never beside the figures of another audit. What cannot be put in
    its place after all is undone.

    Raises:
      RunError: They cannot be written; the previous ones are there.
    """
    files = audit_files(result)
    staging = join(folder, f"{_STAGING}-{uuid.uuid4().hex}")
    try:
        previous = {name: _content(join(folder, name), storage) for name in FILES}
        storage.make_folder(staging)
        try:
            for name, data in files.items():
                storage.replace(join(staging, uuid.uuid4().hex), join(staging, name), data)
            _put(folder, staging, files, previous, storage)
        finally:
            with contextlib.suppress(OSError):  # What is left there is in nobody's way.
                storage.delete(staging)
    except OSError as error:
        raise RunError(f"the audit cannot be written to {folder} ({error})") from error


def audit_files(result: AuditResult) -> dict[str, bytes]:
    """The files of an audit by name; `BLESSED` or `NOT_BLESSED`, empty, unless undecided."""
    blessing = {"pass": {BLESSED: b""}, "fail": {NOT_BLESSED: b""}, "undecided": {}}
    return {
        JUNIT: junit_xml(result),
        SUMMARY: summary_markdown(result),
        METRICS: prometheus_text(result),
        AUDIT: result.to_json(),
        **blessing[result.verdict],
    }


def _put(
    folder: str,
    staging: str,
    files: Mapping[str, bytes],
    previous: Mapping[str, bytes | None],
    storage: Storage,
) -> None:
    try:
        for name in (BLESSED, NOT_BLESSED):
            storage.delete(join(folder, name))
        for name, data in files.items():
            storage.replace(join(staging, name), join(folder, name), data)
    except OSError:
        for name, old in previous.items():
            with contextlib.suppress(OSError):  # What made it fail may make this fail, too.
                if old is None:
                    storage.delete(join(folder, name))
                else:
                    storage.replace(join(staging, uuid.uuid4().hex), join(folder, name), old)
        raise


def _content(path: str, storage: Storage) -> bytes | None:
    try:
        with storage.open(path) as stream:
            return stream.read()
    except FileNotFoundError:
        return None
