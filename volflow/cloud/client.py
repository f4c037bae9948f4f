"""What all resources of Cinder share: errors that say what to do, whole lists, waiting, deleting.

Resources are plain dictionaries, as the API shows them (Block Storage API reference, v3).
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from cinderclient import exceptions
from keystoneauth1 import exceptions as auth_exceptions

from volflow.cloud.wait import Resource, Wait, existing
from volflow.errors import CloudError, QuotaError, ResourceNotFoundError

LOG = logging.getLogger(__name__)

# How often to begin a list again, and to repeat a request that failed for a moment.
RETRIES = 3


class Client:
    """python-cinderclient, with volflow's way to wait and to delete.

    :param api: python-cinderclient, for the API version that this cloud and volflow both know
    :param wait: how to wait for a resource to change its state
    :param stopping: set to end the waits for a resource to become ready. Waits for a deletion
        continue, because undoing is never interrupted
    """

    def __init__(self, api: Any, wait: Wait, stopping: threading.Event | None = None) -> None:
        self.api = api
        self._wait = wait
        self._stopping = stopping
        self._stopping_deletion: threading.Event | None = None

    def interruptible(self) -> Client:
        """A client that also ends waits for a deletion when the run is asked to stop."""
        other = copy.copy(self)
        other._stopping_deletion = self._stopping
        return other

    def wait_for(
        self,
        look: Callable[[], Resource],
        ready: Collection[str],
        *,
        what: str,
        size_gib: int = 0,
        cleaning: bool = False,
    ) -> Resource:
        """Wait until a resource is in one of these states.

        :param look: reads the resource
        :param size_gib: the size of all its volumes together, in GiB
        :param cleaning: this is part of cleaning up, which is never interrupted
        :raises WaitError: the resource is in an error state, or the wait took too long
        :raises StoppedError: the run was asked to stop
        """
        return self._wait.until(
            look,
            ready,
            what=what,
            size_gib=size_gib,
            reason=self.last_message,
            stopping=None if cleaning else self._stopping,
        )

    def delete(
        self,
        what: str,
        delete: Callable[[], object],
        look: Callable[[], Resource],
        *,
        size_gib: int = 0,
    ) -> None:
        """Delete a resource and wait until it is gone. It is no error if it is gone already.

        :param size_gib: the size of all its volumes together, in GiB
        :raises WaitError: Cinder did not delete it, or not in time
        """
        try:
            with translated(f"Deleting {what}"):
                delete()
        except ResourceNotFoundError:
            if existing(look):
                raise
            return
        self.wait_gone(look, what=what.capitalize(), size_gib=size_gib)

    def wait_gone(self, look: Callable[[], Resource], *, what: str, size_gib: int = 0) -> None:
        """Wait until a resource is gone whose deletion Cinder has accepted.

        :param size_gib: the size of all its volumes together, in GiB
        :raises WaitError: Cinder did not delete it, or not in time
        """
        self._wait.until_gone(
            look,
            what=what,
            size_gib=size_gib,
            reason=self.last_message,
            stopping=self._stopping_deletion,
        )

    def last_message(self, resource: Resource) -> str:
        """Cinder's own message on why this resource failed; empty if it has none."""
        try:
            with translated("Reading Cinder's messages"):
                found = self.api.messages.list(search_opts={"resource_uuid": resource["id"]})
        except CloudError as error:
            return f"(Cinder's message could not be read: {error})"
        messages = sorted(map(plain, found), key=lambda m: str(m["created_at"]))
        return str(messages[-1]["user_message"]) if messages else ""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the exceptions of the client libraries into volflow's errors, which say what to do."""
    try:
        yield
    except exceptions.NotFound as error:
        raise ResourceNotFoundError(f"{doing}: not found in Cinder ({error}).") from error
    except exceptions.OverLimit as error:
        raise QuotaError(f"{doing}: over the quota: {error}") from error
    except (exceptions.Forbidden, auth_exceptions.Forbidden) as error:
        raise CloudError(
            f"{doing}: not permitted. The user needs a role in the project that Cinder's policy "
            f"allows this to: {error}"
        ) from error
    except (exceptions.Unauthorized, auth_exceptions.Unauthorized) as error:
        raise CloudError(
            f"{doing}: the cloud refused the login. Check the user, password and project in "
            f"clouds.yaml or OS_*: {error}"
        ) from error
    except auth_exceptions.ConnectFailure as error:
        raise CloudError(
            f"{doing}: the API cannot be reached. Check the auth URL, the endpoint and the "
            f"network: {error}"
        ) from error
    except (auth_exceptions.ClientException, exceptions.ClientException) as error:
        raise CloudError(f"{doing}: {error}") from error
    except (
        exceptions.UnsupportedVersion,
        exceptions.VersionNotFoundForAPIMethod,
        exceptions.EndpointNotFound,
    ) as error:
        raise CloudError(f"{doing}: {error}") from error


def plain(resource: Any) -> Resource:
    """A resource of python-cinderclient as the dictionary that the API has sent."""
    return {k: v for k, v in resource.to_dict().items() if k != "x_openstack_request_ids"}


def list_all(listing: Callable[[], Iterable[Any]]) -> list[Any]:
    """A complete list. The client follows the API's pages.

    Each page starts after the last resource of the page before. If that was deleted meanwhile, the
    API does not know the next page, and the list is started again.
    """
    for _ in range(RETRIES):
        try:
            return list(listing())
        except exceptions.NotFound:
            LOG.info("The last resource of a page was deleted; listing again")
    return list(listing())
