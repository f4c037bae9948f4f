"""What an answer of Keystone or Cinder means: an error of volflow, which says what to do.

An answer stays as it is; trouble may pass. Trouble is a status of :data:`WAITING`, a lost
connection, or what is no answer of the API at all: :class:`UnavailableError`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from cinderclient import exceptions
from keystoneauth1 import exceptions as auth_exceptions

from volflow.errors import (
    CloudError,
    QuotaError,
    ResourceNotFoundError,
    UnavailableError,
    VolflowError,
)

LOG = logging.getLogger(__name__)

Result = TypeVar("Result")

# The statuses that an API, or a proxy in front of it, sends when a later request may succeed.
WAITING = frozenset({429, 500, 502, 503, 504})
# With Retry-After it is a rate limit, otherwise the quota (cinder/api/openstack/wsgi.py).
OVER_LIMIT = 413

# What client libraries raise when an answer is not what they expect.
_NONSENSE = (
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    TypeError,
    ValueError,
    auth_exceptions.InvalidResponse,
)
_MAKES_NO_SENSE = (
    "the answer makes no sense ({}). Is there a proxy between this host and the API that "
    "answers in its place?"
)
_REFUSED = (
    "the cloud refused the login. Check the user, password and project in clouds.yaml or OS_*"
)


class NoAnswer(Exception):
    """A response that is no answer of the API, or asks to wait.

    :ivar status: its HTTP status
    :ivar retry_after: the seconds that it asks to wait
    """

    def __init__(self, text: str, status: int, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.status, self.retry_after = status, retry_after


class NoSuchPath(Exception):
    """The API does not have the path of a request: its release does not have this call."""


def answered(
    doing: str, function: Callable[[], Result], *, refused: Callable[[], str] | None = None
) -> Result:
    """Call a client library, and turn its exceptions into volflow's errors.

    They have no cause and no context: those of the libraries can form long chains. The log has
    them, at level DEBUG.

    :param doing: what the call does, for the error
    :param refused: says why a login is refused; None for the usual reasons
    """
    try:
        return function()
    except VolflowError:
        raise
    except Exception as error:
        failure = _failure(doing, error, refused)
        if failure is None:
            raise
        LOG.debug("%s", failure, exc_info=True)
    raise failure


def seconds_of(retry_after: str | None) -> float:
    """The seconds that a header ``Retry-After`` asks to wait, in either form (RFC 9110, 10.2.3).

    0 where it is missing or not valid.
    """
    if not retry_after:
        return 0.0
    try:
        return max(0.0, float(int(retry_after)))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def is_rate_limit(status: int, retry_after: float, text: str) -> bool:
    """Whether an answer asks to wait, and not to free some of the quota."""
    return status == OVER_LIMIT and retry_after > 0 and "quota" not in text.lower()


def _failure(doing: str, error: Exception, refused: Callable[[], str] | None) -> CloudError | None:
    """volflow's error for an exception of a client library; None if it is not one of theirs."""
    if isinstance(error, NoAnswer):
        return UnavailableError(
            f"{doing}: {error}", status=error.status, retry_after=error.retry_after
        )
    if isinstance(error, NoSuchPath):
        return CloudError(f"{doing}: this cloud does not have this call ({error}).", status=404)
    if isinstance(error, auth_exceptions.ConnectionError):
        return _unreachable(doing, error)
    if isinstance(error, auth_exceptions.DiscoveryFailure):
        return _undiscovered(doing, error)
    if isinstance(error, exceptions.UnsupportedAttribute):
        return CloudError(f"{doing}: {error}")
    if isinstance(error, _NONSENSE):
        return UnavailableError(f"{doing}: {_MAKES_NO_SENSE.format(_reason(error))}")
    if isinstance(error, (exceptions.ClientException, auth_exceptions.HttpError)):
        return _refusal(doing, error, refused)
    if isinstance(
        error,
        (
            auth_exceptions.ClientException,
            exceptions.UnsupportedVersion,
            exceptions.VersionNotFoundForAPIMethod,
            exceptions.EndpointNotFound,
        ),
    ):
        return CloudError(f"{doing}: {error}")
    return None


def _refusal(
    doing: str,
    error: exceptions.ClientException | auth_exceptions.HttpError,
    refused: Callable[[], str] | None,
) -> CloudError:
    """The error for an answer with an HTTP status."""
    if isinstance(error, auth_exceptions.HttpError):
        status, headers = error.http_status, getattr(error.response, "headers", None) or {}
        retry_after = seconds_of(headers.get("Retry-After"))
    else:
        status, retry_after = error.code, float(getattr(error, "retry_after", 0))
    text = str(error)
    if status in WAITING or is_rate_limit(status, retry_after, text):
        return UnavailableError(f"{doing}: {error}", status=status, retry_after=retry_after)
    if isinstance(error, exceptions.NotFound):
        return ResourceNotFoundError(f"{doing}: not found in Cinder ({error}).", status=status)
    if status == OVER_LIMIT or (status == 403 and "quota" in text.lower()):
        return QuotaError(f"{doing}: over the quota: {error}", status=status)
    if status == 403:
        return CloudError(
            f"{doing}: not permitted. The user needs a role in the project that Cinder's policy "
            "allows this to; with an application credential, its access rules must allow it too: "
            f"{error}",
            status=status,
        )
    if status == 401:
        why = refused() if refused else ""
        return CloudError(f"{doing}: {why or _REFUSED}: {error}", status=status)
    return CloudError(f"{doing}: {error}", status=status)


def _unreachable(doing: str, error: auth_exceptions.ConnectionError) -> CloudError:
    original = getattr(error, "original", None)
    if isinstance(original, ValueError):
        # The URL is not one: requests' InvalidURL, MissingSchema and InvalidSchema.
        return CloudError(f"{doing}: {error}. Check the auth URL and the endpoint.")
    return UnavailableError(
        f"{doing}: the API cannot be reached. Check the auth URL, the endpoint and the network: "
        f"{error}"
    )


def _undiscovered(doing: str, error: auth_exceptions.DiscoveryFailure) -> CloudError:
    """Keystone's versions could not be read, or the auth URL is not Keystone's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, auth_exceptions.HttpError) and cause.http_status not in WAITING:
            return CloudError(f"{doing}: {error}", status=cause.http_status)
        cause = cause.__context__
    return UnavailableError(f"{doing}: {error}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
