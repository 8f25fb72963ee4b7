"""What speaks to S3: Arrow's client, which reads and writes, and boto3's, which tells causes of errors and ETags."""

import functools
import os
from typing import Any

import pyarrow.fs as pafs

from faceverify.errors import PlatformError
from faceverify.redaction import first_line

ATTEMPTS = 8  # of one request to S3, with growing pauses: a minute of "slow down" is nothing unusual
# What S3 says of one object and not of itself: such a photo is a reject.
OF_THE_OBJECT = ("ACCESS_DENIED", "AccessDenied", "INVALID_OBJECT_STATE", "InvalidObjectState", "HTTP status 403")


@functools.cache
def filesystem(bucket: str) -> pafs.S3FileSystem:
    """Arrow's client for a bucket, one per process and bucket."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        region = pafs.resolve_s3_region(bucket)
    options = {"endpoint_override": endpoint} if endpoint else {}
    retry = pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    times = {"connect_timeout": 10, "request_timeout": 60, "retry_strategy": retry}
    return pafs.S3FileSystem(region=region or "us-east-1", **times, **options)


def object_version(etag: str, size: int) -> str:
    """What tells an object's content from another's: its ETag, which follows from the content, and its size."""
    return f"etag:{etag.strip(chr(34))}-{size}"


def just_before(key: str) -> str:
    """A key that comes before `key`, and behind most of what does: S3 lists what comes behind a key."""
    if not key:
        return ""
    lower = ord(key[-1]) - 1
    return key[:-1] + (chr(lower) + "\U0010fffd" if " " <= chr(lower) < "\ud800" else "")


def objects_behind(asked: Any, bucket: str, after: str, most: int) -> list[dict[str, Any]]:
    """The first objects of a bucket behind the key `after`, in the order of their keys: at most 1,000.

    Raises:
        PlatformError: the storage refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = asked.list_objects_v2(Bucket=bucket, StartAfter=after, MaxKeys=min(most, 1000))
    except ClientError as error:
        raise PlatformError(_sentence(error.response["Error"]["Code"], bucket)) from None
    except BotoCoreError as error:
        raise PlatformError(f"cannot reach the bucket '{bucket}' ({first_line(error)}).") from None
    return answer.get("Contents", [])


def client(attempts: int = ATTEMPTS) -> Any:
    """A client of boto3, which tells what Arrow does not: ETags in lists, and error codes. Threads may share it."""
    import boto3
    from botocore.config import Config

    patience = Config(retries={"max_attempts": attempts}, connect_timeout=5, read_timeout=20, max_pool_connections=16)
    return boto3.Session().client("s3", config=patience)


def check_bucket(path: str, field: str) -> None:
    """Ask S3 for the bucket with boto3, whose error codes tell the causes apart."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = path.split("/", 1)[0]
    try:
        client(attempts=2).list_objects_v2(Bucket=bucket, MaxKeys=1, Prefix=path.partition("/")[2])
    except ClientError as error:
        raise PlatformError(f"{field}: {_sentence(error.response['Error']['Code'], bucket)}") from None
    except BotoCoreError as error:
        raise PlatformError(f"{field}: cannot reach the bucket '{bucket}' ({first_line(error)}).") from None


def _sentence(code: str, bucket: str) -> str:
    if code == "NoSuchBucket":
        return f"there is no bucket '{bucket}'; create it or check the name."
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId"):
        return f"S3 refused the credentials for bucket '{bucket}' ({code}); check the key, the secret or the role."
    if code in ("AccessDenied", "403"):
        return f"these credentials may not list bucket '{bucket}' (AccessDenied); grant List, Get and Put."
    return f"S3 answered {code} for bucket '{bucket}'."
