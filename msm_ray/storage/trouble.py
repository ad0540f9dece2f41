"""What a bucket's server or its client says when a request came to nothing, as an error that says what to do.

botocore has tried for long by then (`bucket.py`): what is left is wrong with the bucket, with the credentials or with the way
there, and no other stage would fare better. Messages of servers are shown shortened, and never a key: they hold none but an
`AWSAccessKeyId`, which is not repeated.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msm_ray.errors import MsmError, OutOfMeans, PreflightError

SAFE = "what was written is safe, and the same command goes on"
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
UNKNOWN_KEYS = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "401"})
FORBIDDEN = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"})
NO_BUCKET = frozenset({"NoSuchBucket", "InvalidBucketName"})
BUSY = frozenset({"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "500", "502", "503", "504"})
NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ProfileNotFound"}
)
NOT_RENEWED = frozenset(
    {"CredentialRetrievalError", "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"}
)
NO_WAY = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError", "HTTPClientError"}
    | {
        "ClientConnectorError",
        "ServerDisconnectedError",
        "IncompleteReadError",
        "ResponseStreamingError",
        "ClientPayloadError",
    }
    | {"FSTimeoutError", "ConnectionError", "ConnectionResetError", "ConnectionRefusedError", "SSLError"}
)


def explained(error: BaseException, place: str) -> MsmError | None:
    """What a user can do about an error of a request for `place`; None where it is none, or says so already."""
    if isinstance(error, MsmError):
        return None
    bucket = "/".join(place.split("/")[:3])
    codes = {code for each in _chain(error) for code in _codes(each)}
    kinds = {kind.__name__ for each in _chain(error) for kind in type(each).__mro__}
    if codes & NO_BUCKET:
        return OutOfMeans(f"{bucket}: there is no such bucket; make it, or give another root=")
    if codes & EXPIRED or kinds & NOT_RENEWED:
        return OutOfMeans(f"{bucket}: the credentials have expired; renew them ({SAFE})")
    if "RequestTimeTooSkewed" in codes:
        return OutOfMeans(
            f"{bucket}: this machine's clock is off by more than the server allows; set it by NTP ({SAFE})"
        )
    if codes & UNKNOWN_KEYS or kinds & NO_CREDENTIALS:
        return OutOfMeans(f"{bucket}: no credentials that are known there; {_how(bucket)} ({SAFE})")
    if codes & FORBIDDEN or (isinstance(error, PermissionError) and not error.filename):
        return OutOfMeans(
            f"{bucket}: these credentials may not do this to {place}; a run lists, reads, writes and deletes below its root "
            f"(s3:ListBucket, GetObject, PutObject, DeleteObject, AbortMultipartUpload; {SAFE})"
        )
    if codes & BUSY or getattr(error, "errno", None) in (errno.EBUSY, errno.EREMOTEIO):
        return OutOfMeans(f"{bucket}: the server refuses again and again ({_short(error)}); wait a while ({SAFE})")
    if kinds & NO_WAY or isinstance(error, TimeoutError):
        return OutOfMeans(
            f"{bucket}: no answer from the server ({_short(error)}); look at the network and at AWS_ENDPOINT_URL ({SAFE})"
        )
    return None


def probe(root: Path) -> None:
    """See that a bucket is there and can be listed. Raises PreflightError with what to do; nothing to see of a folder."""
    if isinstance(root, Path):
        return
    path: Any = root
    try:
        bucket, _, prefix = path.path.partition("/")
        if hasattr(path.fs, "call_s3"):
            path.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/".lstrip("/"), MaxKeys=1)
        else:
            path.fs.ls(bucket, detail=False)
    except ImportError as error:
        raise PreflightError(f"{root}: {error.name or 'a library'} is not installed; {error}") from None
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            raise PreflightError(f"{_bucket(root)}: there is no such bucket; make it, or give another root=") from None
        told = explained(error, str(root))
        raise PreflightError(
            str(told).replace(f" ({SAFE})", "").replace(f"; {SAFE})", ")") if told else str(error)
        ) from None


def _bucket(root: Path) -> str:
    return "/".join(str(root).split("/")[:3])


def _how(bucket: str) -> str:
    if bucket.startswith("gs://"):
        return "give some by GOOGLE_APPLICATION_CREDENTIALS or `gcloud auth application-default login`"
    return "give some by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the machine's role, on every node"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _codes(error: BaseException) -> Iterator[str]:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        yield str(response.get("Error", {}).get("Code", ""))
    for name in ("code", "status"):
        if isinstance(code := getattr(error, name, None), int):
            yield str(code)


def _short(error: BaseException) -> str:
    text = str(error).partition("\n")[0] or type(error).__name__
    return text if len(text) <= 160 else text[:160] + "…"
