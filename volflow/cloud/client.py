"""What all resources of Cinder share: calls that are repeated, whole lists, waiting, deleting.

Resources are plain dictionaries, as the API shows them (Block Storage API reference, v3).
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from typing import Any, TypeVar

from cinderclient import exceptions

from volflow.cloud.answers import answered
from volflow.cloud.patience import Patience, is_undoing
from volflow.cloud.wait import Resource, Wait, existing, is_being_deleted, is_in_transition
from volflow.errors import CloudError, ResourceNotFoundError, UnavailableError

LOG = logging.getLogger(__name__)

Result = TypeVar("Result")

_LATER = "If Cinder carries it out later, 'volflow leftover list --lost' lists what it has made."

# The statuses with which Cinder refuses a change because of a resource's state.
REFUSED_FOR_STATE = (400, 409)


class Deletion(StrEnum):
    """What is known of the deletion of a resource that is gone. The ledger keeps the values."""

    #: Cinder has accepted the request, or has shown the resource as 'deleting'.
    BEGUN = "begun"
    #: volflow has asked, and the answer was lost, or it was killed before it had one.
    ASKED = "asked"
    #: Somebody else has deleted it, or it went to another project.
    UNKNOWN = "unknown"


class Client:
    """python-cinderclient, with volflow's way to call, to wait and to delete.

    :param api: python-cinderclient, for the API version that this cloud and volflow both know
    :param wait: how to wait for a resource to change its state
    :param patience: how long to repeat a call while the API has trouble
    :param refused: says why the login is refused; empty for the usual reasons
    :param stopping: set to end the waits for a resource to become ready. Waits for a deletion
        continue, because undoing is never interrupted
    """

    def __init__(
        self,
        api: Any,
        wait: Wait,
        patience: Patience | None = None,
        *,
        refused: Callable[[], str] | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self.api = api
        self._wait = wait
        self._patience = patience or Patience()
        self._refused = refused
        self._stopping = stopping
        self._stopping_deletion: threading.Event | None = None

    def interruptible(self) -> Client:
        """A client that also ends waits for a deletion when the run is asked to stop."""
        other = copy.copy(self)
        other._stopping_deletion = self._stopping
        return other

    def call(
        self,
        doing: str,
        function: Callable[[], Result],
        *,
        found: Callable[[], Result | None] | None = None,
        unanswered: Callable[[], None] | None = None,
    ) -> Result:
        """Call the API, and repeat the call while the API has trouble.

        :param doing: what the call does, for the error
        :param function: the call; it may be carried out more than once, because an answer can be
            lost
        :param found: for what must not be made twice: looks for what an earlier call has made
        :param unanswered: called before a repeat: Cinder may still carry out the request before it
        :raises ResourceNotFoundError: the answer is Cinder's 404
        :raises UnavailableError: the trouble has lasted too long
        :raises CloudError: Cinder has refused
        :raises StoppedError: the run was asked to stop; never while something is undone
        """
        undone = self._stopping_deletion is None and is_undoing()

        def look() -> Result | None:
            if unanswered:
                unanswered()
            return found() if found else None

        try:
            return self._patience.repeat(
                lambda: answered(doing, function, refused=self._refused),
                found=look,
                stopping=None if undone else self._stopping,
            )
        except UnavailableError as error:
            if unanswered is None:
                raise
            later = UnavailableError(f"{error} {_LATER}", status=error.status)
            later.tried = True
        raise later

    def list_all(
        self, doing: str, listing: Callable[[], Iterable[Any]], *needed: str
    ) -> list[Resource]:
        """A complete list. python-cinderclient follows the API's pages.

        Each page starts after the last resource of the page before. If that was deleted meanwhile,
        the API does not know the next page, and the list is started again. A list itself always
        exists: that it is not found does not mean that it is empty.

        :param needed: what each resource must have
        """

        def complete() -> list[Resource]:
            try:
                return [plain(one, *needed) for one in listing()]
            except exceptions.NotFound as error:
                raise UnavailableError(
                    f"{doing}: the last resource of a page may have been deleted ({error})."
                ) from None

        return self.call(doing, complete)

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
            grace=self._patience.seconds,
        )

    def delete(
        self,
        what: str,
        delete: Callable[[], object],
        look: Callable[[], Resource],
        *,
        size_gib: int = 0,
        begun: Callable[[], object] = lambda: None,
    ) -> Deletion:
        """Delete a resource and wait until it is gone. It is no error if it is gone already.

        If Cinder is still changing the resource, this first waits for the end of the change.

        :param size_gib: the size of all its volumes together, in GiB
        :param begun: called at each sign that Cinder deletes it, and before any wait for the end
        :returns: who has deleted it, as far as is known
        :raises WaitError: Cinder did not delete it, or not in time
        """
        name = what.capitalize()
        deadline = self._wait.deadline(size_gib)
        settled = False
        deletion = Deletion.UNKNOWN

        def sign() -> None:
            nonlocal deletion
            deletion = Deletion.BEGUN
            begun()

        def seen() -> Resource | None:
            found = existing(look)
            if found is not None and is_being_deleted(found):
                sign()
            return found

        def under_way() -> Resource | None:
            nonlocal deletion
            found = seen()
            if found is not None and is_being_deleted(found):
                return found
            # The request may have reached Cinder or not. What is still there was not deleted.
            if deletion is not Deletion.BEGUN:
                deletion = Deletion.UNKNOWN if found else Deletion.ASKED
            return None

        while True:
            try:
                self.call(f"Deleting {what}", delete, found=under_way)
                sign()
                break
            except ResourceNotFoundError:
                found = seen()
                if found is None:
                    return deletion
                if not is_being_deleted(found):
                    raise
                break
            except CloudError as error:
                if error.status not in REFUSED_FOR_STATE or time.monotonic() > deadline:
                    raise
                found = seen()
                if found is None:
                    return deletion
                if not is_in_transition(found):
                    # The change may have ended between the refusal and this look.
                    if settled:
                        raise
                    settled = True
                    continue
                settled = False
                LOG.info("%s is '%s': deleting it afterwards", name, found["status"])
                self._wait.until_settled(
                    look,
                    what=name,
                    size_gib=size_gib,
                    stopping=self._stopping_deletion,
                    grace=self._patience.seconds,
                )
        self.wait_gone(look, what=name, size_gib=size_gib)
        return Deletion.BEGUN

    def wait_settled(
        self, look: Callable[[], Resource], *, what: str, size_gib: int = 0
    ) -> Resource | None:
        """Wait until Cinder no longer changes a resource, or it is gone: then None.

        :param size_gib: the size of all its volumes together, in GiB
        :raises WaitError: the wait took too long
        :raises StoppedError: the run was asked to stop
        """
        return self._wait.until_settled(
            look,
            what=what,
            size_gib=size_gib,
            stopping=self._stopping,
            grace=self._patience.seconds,
        )

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
            grace=self._patience.seconds,
        )

    def last_message(self, resource: Resource) -> str:
        """Cinder's own message on why this resource failed; empty if it has none."""

        def newest() -> str:
            found = self.api.messages.list(search_opts={"resource_uuid": resource["id"]})
            messages = sorted(map(plain, found), key=lambda m: str(m["created_at"]))
            return str(messages[-1]["user_message"]) if messages else ""

        try:
            # It is for people only: not worth a wait.
            return answered("Reading Cinder's messages", newest, refused=self._refused)
        except CloudError as error:
            return f"(Cinder's message could not be read: {error})"


def plain(resource: Any, *needed: str) -> Resource:
    """A resource of python-cinderclient as the dictionary that the API has sent.

    :param needed: the fields that it must have besides its id
    :raises KeyError: a field is missing, so this is no answer of Cinder
    """
    found = {k: v for k, v in resource.to_dict().items() if k != "x_openstack_request_ids"}
    for name in ("id", *needed):
        found[name]
    return found
