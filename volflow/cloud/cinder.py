"""Cinder, as volflow uses it: the Block Storage API v3, by resource as in python-cinderclient."""

from __future__ import annotations

import copy
import threading
from typing import Any

from cinderclient import api_versions, client
from keystoneauth1.session import Session

from volflow.cloud.attachments import Attachments
from volflow.cloud.availability_zones import AvailabilityZones
from volflow.cloud.client import RETRIES, Client, translated
from volflow.cloud.group_snapshots import GroupSnapshots
from volflow.cloud.groups import Groups
from volflow.cloud.quotas import Quotas
from volflow.cloud.snapshots import Snapshots
from volflow.cloud.volume_types import VolumeTypes
from volflow.cloud.volumes import Volumes
from volflow.cloud.wait import Wait
from volflow.errors import CloudError

# Attachments came with 3.27, their completion with 3.44, revert-to-snapshot with 3.40.
OLDEST = "3.44"
NEWEST = "3.71"

# What an API, or a proxy in front of it, answers when a request may succeed a moment later.
_TRANSIENT = (500, 502, 503, 504)


class Cinder:
    """The Block Storage API of one cloud, in one project.

    :param client: python-cinderclient for API version ``version``
    :param project_id: the project of the login, where it has one
    :param wait: how to wait for a resource to change its state
    :param stopping: set to end the waits for a resource to become ready. Waits for a deletion
        continue, because undoing is never interrupted
    """

    def __init__(
        self,
        client: Any,
        *,
        project_id: str | None,
        version: api_versions.APIVersion,
        wait: Wait,
        stopping: threading.Event | None = None,
    ) -> None:
        self.project_id = project_id
        self.version = version
        self._use(Client(client, wait, stopping))

    def _use(self, client: Client) -> None:
        self._client = client
        self.volumes = Volumes(client, self.project_id)
        self.snapshots = Snapshots(client, self.version)
        self.attachments = Attachments(client)
        self.groups = Groups(client)
        self.group_snapshots = GroupSnapshots(client, self.volumes, self.snapshots)
        self.types = VolumeTypes(client)
        self.quotas = Quotas(client, self.project_id)
        self.availability_zones = AvailabilityZones(client)

    @classmethod
    def connect(
        cls,
        session: Session,
        *,
        wait: Wait,
        region_name: str | None = None,
        interface: str = "public",
        stopping: threading.Event | None = None,
    ) -> Cinder:
        """Find Cinder by an authenticated session, which renews its own token.

        :raises CloudError: the API cannot be reached, refuses the login, or is older than 3.44
        """
        where = {
            "session": session,
            "region_name": region_name,
            "interface": interface,
            # A request that Cinder carried out may be sent again: what it made carries its tag,
            # and everything with that tag is found.
            "connect_retries": RETRIES,
            "status_code_retries": RETRIES,
            "retriable_status_codes": _TRANSIENT,
        }
        with translated("Talking to Cinder"):
            # Log in now: otherwise a wrong password would look like an old API.
            session.get_auth_headers()
            found = api_versions.discover_version(
                client.Client("3.0", **where), api_versions.APIVersion(NEWEST)
            )
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
                stopping=stopping,
            )

    def interruptible(self) -> Cinder:
        """The same project, but waits for a deletion also end when the run is asked to stop.

        It is for what is removed on the way forward, which a resume repeats.
        """
        other = copy.copy(self)
        other._use(self._client.interruptible())
        return other

    @property
    def client(self) -> Any:
        """python-cinderclient, for the API version that this cloud and volflow both know."""
        return self._client.api
