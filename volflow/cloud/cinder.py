"""Cinder, as volflow uses it: the Block Storage API v3, by resource as in python-cinderclient."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from cinderclient import api_versions, client
from keystoneauth1.session import Session

from volflow.cloud.answers import answered
from volflow.cloud.attachments import Attachments
from volflow.cloud.availability_zones import AvailabilityZones
from volflow.cloud.client import Client
from volflow.cloud.credentials import Credentials
from volflow.cloud.endpoint import Endpoint
from volflow.cloud.group_snapshots import GroupSnapshots
from volflow.cloud.groups import Groups
from volflow.cloud.patience import Patience
from volflow.cloud.quotas import Quotas
from volflow.cloud.snapshots import Snapshots
from volflow.cloud.volume_types import VolumeTypes
from volflow.cloud.volumes import Volumes
from volflow.cloud.wait import Wait
from volflow.errors import CloudError

# Attachments came with 3.27, their completion with 3.44, revert-to-snapshot with 3.40.
OLDEST = "3.44"
NEWEST = "3.71"


class Cinder:
    """The Block Storage API of one cloud, in one project.

    :param client: python-cinderclient for API version ``version``
    :param project_id: the project of the login, where it has one
    :param wait: how to wait for a resource to change its state
    :param patience: how long to repeat a call while the API has trouble
    :param stopping: set to end the waits for a resource to become ready. Waits for a deletion
        continue, because undoing is never interrupted
    :param endpoint: where it is, if that is known
    :param credentials: those of the login, if they are known
    """

    def __init__(
        self,
        client: Any,
        *,
        project_id: str | None,
        version: api_versions.APIVersion,
        wait: Wait,
        patience: Patience | None = None,
        stopping: threading.Event | None = None,
        endpoint: Endpoint | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.project_id = project_id
        self.version = version
        self.endpoint = endpoint
        self._credentials = credentials
        refused = credentials.refusal if credentials else None
        self._use(Client(client, wait, patience, refused=refused, stopping=stopping))

    def _use(self, client: Client) -> None:
        self._client = client
        self.volumes = Volumes(client, self.project_id)
        self.snapshots = Snapshots(client, self.version)
        self.attachments = Attachments(client)
        self.groups = Groups(client)
        self.group_snapshots = GroupSnapshots(client, self.groups, self.volumes, self.snapshots)
        self.types = VolumeTypes(client)
        self.quotas = Quotas(client, self.project_id)
        self.availability_zones = AvailabilityZones(client)

    @classmethod
    def connect(
        cls,
        session: Session,
        find: Callable[[], Endpoint],
        *,
        wait: Wait,
        patience: Patience,
        credentials: Credentials,
        stopping: threading.Event | None = None,
    ) -> Cinder:
        """Find Cinder by an authenticated session, which renews its own token.

        :param find: finds its endpoint
        :raises CloudError: the API cannot be reached, refuses the login, or is older than 3.44
        """

        def talk() -> Cinder:
            # Log in now: otherwise a wrong password would look like an old API.
            session.get_auth_headers()
            endpoint = find()
            where = {
                "session": session,
                "service_type": "block-storage",
                # keystoneauth puts the project into places that are marked by a percent sign.
                "endpoint_override": endpoint.url.replace("%", "%%"),
            }
            found = _newest(client.Client("3.0", **where))
            if found < api_versions.APIVersion(OLDEST):
                raise CloudError(
                    f"This Cinder speaks API version {found.get_string()} at most; volflow needs "
                    f"{OLDEST} (Rocky) or newer."
                )
            return cls(
                client.Client(found.get_string(), **where),
                project_id=session.get_project_id(),
                version=found,
                wait=wait,
                patience=patience,
                stopping=stopping,
                endpoint=endpoint,
                credentials=credentials,
            )

        return patience.repeat(
            lambda: answered("Talking to Cinder", talk, refused=credentials.refusal),
            stopping=stopping,
        )

    def interruptible(self) -> Cinder:
        """The same project, but waits for a deletion also end when the run is asked to stop.

        It is for what is removed on the way forward, which a resume repeats.
        """
        other = copy.copy(self)
        other._use(self._client.interruptible())
        return other

    def login_end(self) -> datetime | None:
        """When the login ends for good, with its time zone; None if it renews itself."""
        if self._credentials is None:
            return None
        return self._client.call("Reading the end of the login", self._credentials.end)

    @property
    def client(self) -> Any:
        """python-cinderclient, for the API version that this cloud and volflow both know."""
        return self._client.api


def _newest(api: Any) -> api_versions.APIVersion:
    """The newest API version that this cloud and volflow both know.

    :raises ValueError: the API lists no versions, so this is no answer of Cinder
    """
    listed = list(api.services.server_api_version())
    if not listed:
        raise ValueError("it lists no versions")
    # python-cinderclient takes an answer that makes no sense for an old API: it shall not read it.
    read = SimpleNamespace(services=SimpleNamespace(server_api_version=lambda: listed))
    return api_versions.discover_version(read, api_versions.APIVersion(NEWEST))
