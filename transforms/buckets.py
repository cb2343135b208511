"""What is wrong with a remote storage, in one sentence that names the path and the remedy.

Clients of clouds wrap their errors in one another, and Beam wraps them again; some try for ten
minutes what can never work.
"""

from __future__ import annotations

from typing import Any

from transforms.errors import ConfigurationError

_CREDENTIALS_OF_S3 = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in AWS_PROFILE"
_REMEDIES = {
    "gs": "see that the bucket is there, that this machine reaches it, and that its credentials "
    "may use it (gcloud auth application-default login)",
    "s3": "see that the bucket is there, that this machine reaches it, and that its credentials "
    f"may use it ({_CREDENTIALS_OF_S3})",
    "hdfs": "see that this machine reaches the name node, which Beam's options --hdfs_host, "
    "--hdfs_port and --hdfs_user name",
}
_NOT_FOUND = 404


def complaint(path: str, error: BaseException) -> str:
    """What is said of a path that a storage fails for.

    >>> complaint("hdfs://a", TimeoutError("no answer")).partition(": see ")[0]
    'hdfs://a: no answer'
    """
    remedy = _REMEDIES.get(path.partition("://")[0])
    return f"{path}: {_reason(error)}" + (f": {remedy}" if remedy else "")


def unusable(path: str, error: Exception) -> str:
    """What is said of a path for which Beam has no file system.

    >>> unusable("ftp://a", ValueError("Unable to find it, install more")).partition("; give")[0]
    'ftp://a: ftp:// cannot be used here (Unable to find it)'
    """
    reason = _reason(error).partition(",")[0]
    return (
        f"{path}: {path.partition('://')[0]}:// cannot be used here ({reason}); give a local path, "
        "gs:// (pip install '.[gcp]'), s3:// ('apache-beam[aws]') or hdfs:// "
        "('apache-beam[hadoop]', and Beam's option --hdfs_host)"
    )


def check_s3_bucket(path: str, client: Any) -> None:
    """Asks once for a bucket, before Beam tries for ten minutes what can never work.

    Args:
      path: What is in it.
      client: Of boto3, as Beam has set it up.

    Raises:
      ConfigurationError: There are no credentials, or there is no such bucket.
      OSError: Nothing answers.
    """
    from botocore import exceptions

    bucket = path.removeprefix("s3://").partition("/")[0]
    try:
        client.head_bucket(Bucket=bucket)
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise ConfigurationError(
            f"{path}: there are no credentials for s3:// ({error}): set {_CREDENTIALS_OF_S3}"
        ) from error
    except exceptions.ClientError as error:
        # Whoever may not ask for the bucket may still read and write what is in it.
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == _NOT_FOUND:
            raise ConfigurationError(
                f"{path}: there is no bucket {bucket}: make it, or correct the path"
            ) from error
    except exceptions.ParamValidationError as error:
        raise ConfigurationError(
            f"{path}: {bucket!r} cannot be the name of a bucket: correct the path"
        ) from error
    except exceptions.BotoCoreError as error:
        raise OSError(complaint(path, error)) from error


def _reason(error: BaseException) -> str:
    """What the innermost of errors says, without the names of those around it."""
    inner = getattr(error, "exception_details", None)  # Beam's: path -> error
    if isinstance(inner, dict):
        reasons = [_reason(each) for each in inner.values() if isinstance(each, BaseException)]
        if reasons:
            return "; ".join(dict.fromkeys(reasons))
    if error.args and isinstance(error.args[0], BaseException):
        return _reason(error.args[0])
    # Beam's client of S3 has a text and a code, which str would write as a tuple.
    text = str(error.args[0] if len(error.args) > 1 and hasattr(error, "code") else error)
    return " ".join(text.split()) or type(error).__name__
