"""Errors of an S3 server and of the ways to it, as ours."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError

from lse.errors import AccessError, ConfigurationError, LseError, TemporaryError
from lse.models.retry_after import retry_after_seconds

_PASSING_CODES = frozenset(
    {"RequestTimeout", "SlowDown", "Throttling", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"}
)
"""Answers with a status of 400 that a repetition cures: slow, too fast, or damaged on the way."""
_CHANGED_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "NoSuchUpload"})
_REFUSED_CODES = frozenset({"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_CREDENTIALS_HINT = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; `aws configure` writes a profile."
)


class NotFoundError(LseError):
    """There is no object of this key (404)."""


class ChangedError(LseError):
    """The object, or an upload in progress, is no longer what it was a moment ago (409, 412)."""


def s3_error(answer: Mapping[str, Any]) -> LseError:
    """The error that S3 answered; `answer` is botocore's form of it. The server's words are not quoted."""
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(answer.get("Error", {}).get("Code", ""))
    told = f"The S3 server answered {status}"
    told += f" ({code})." if re.fullmatch("[A-Za-z][A-Za-z0-9]{1,50}", code) else "."
    if code in _PASSING_CODES or status in (408, 429) or (status >= 500 and status != 501):
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return TemporaryError(told, retry_after=retry_after_seconds(headers))
    if code in _CHANGED_CODES or status in (409, 412):
        return ChangedError(told)
    if code == "NoSuchBucket":
        return ConfigurationError(told, hint="Check the bucket in LSE_TARGET=s3:bucket/prefix.")
    if code == "RequestTimeTooSkewed":
        return ConfigurationError(told, hint="The clock of this machine is wrong; set it.")
    if status == 404:
        return NotFoundError(told)
    if status in (401, 403) or code in _REFUSED_CODES:
        return AccessError(
            told,
            hint="Check the credentials, and that they may list, read, write and delete in the bucket.",
        )
    return LseError(f"{told} The request was not understood.")


def refuse_redirect(response: tuple[Any, Mapping[str, Any]] | None, **_: Any) -> None:
    """Raise `ConfigurationError` for a redirect that names no region: no S3 server sent it.

    A handler of boto3's event `needs-retry`. botocore would ask that server for the region, be redirected
    again, and so on until Python's stack is full (measured).
    """
    if response is None or response[0].status_code not in (301, 302, 307, 308):
        return
    headers = response[1].get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if "x-amz-bucket-region" not in headers:
        raise ConfigurationError(
            f"The S3 server answered {response[0].status_code}; credentials follow no redirect.",
            hint="Set LSE_S3_ENDPOINT to the final address, with https if that is what it wants.",
        )


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors in place of those of the library, the connection and the server."""
    try:
        yield
    except ClientError as error:
        raise s3_error(error.response) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigurationError("There are no credentials for S3.", hint=_CREDENTIALS_HINT) from error
    except (CredentialRetrievalError, SSOError, TokenRetrievalError) as error:
        raise AccessError("The credentials for S3 cannot be had.", hint=_CREDENTIALS_HINT) from error
    except SSLError as error:
        raise ConfigurationError(
            "The certificate of the S3 server cannot be checked.",
            hint="Check LSE_S3_ENDPOINT; AWS_CA_BUNDLE names certificates of your own.",
        ) from error
    except (NoConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError, OSError) as error:
        raise TemporaryError(
            f"The S3 server gave no usable answer ({type(error).__name__}).",
            hint="Check LSE_S3_ENDPOINT and the network.",
        ) from error
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            f"boto3 refuses the settings of the S3 target ({type(error).__name__}).",
            hint="Check LSE_TARGET=s3:bucket/prefix, LSE_S3_ENDPOINT and AWS_PROFILE.",
        ) from error
